"""Where rows come from. A source is a module with `batch(spec, stream, candidates, at_least)`, which scores
candidates, and `rows(batch, chosen)`, which makes the token rows of those that were kept."""
