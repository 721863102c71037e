"""A tokenizer of plain ids for trainers that require one: the text of an id is its decimal number.

It is a WordLevel model in the JSON of Hugging Face's `tokenizers`, which is not needed to write it. Words are split at
white space, so decoding a row and encoding the text gives the row. Text that is not ids is an error, not an unknown
word.
"""

import json

END = "<eos>"  # end of text and padding: an id of its own, after those of the rows


def model(vocabulary: int) -> bytes:
    """tokenizer.json for the ids 0 to vocabulary - 1, and END as the next."""
    words = {str(number): number for number in range(vocabulary)} | {END: vocabulary}
    special = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    return _json(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": vocabulary, "content": END} | special],
            "normalizer": None,
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "post_processor": None,
            "decoder": None,
            # The format has a name for unknown words. No such word is there, so any is an error.
            "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
        }
    )


def config() -> bytes:
    """tokenizer_config.json, by which `AutoTokenizer` knows what to load."""
    return _json(
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END,
            "pad_token": END,
            "clean_up_tokenization_spaces": False,
        }
    )


def _json(value: dict) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
