// Computes the exact length of some bytes after gzip at level 9, without compressing: docs/automaton.md, section 9.
//
// The rules are those of ncagen/deflate (lz77.py: parse_faithful; huffman.py), which are madler zlib's, for bytes
// of any length. Not covered: the compressed bytes, other levels.

const MIN_MATCH = 3, MAX_MATCH = 258, WINDOW = 32768, MAX_DISTANCE = WINDOW - (MAX_MATCH + MIN_MATCH + 1);
const TOO_FAR = 4096, CHAIN = 4096, GOOD_MATCH = 32, GOOD_CHAIN = 1024, BLOCK = 16383;
const LITERALS = 286, DISTANCES = 30, DISTANCE = 288, SYMBOLS = DISTANCE + 32, END_OF_BLOCK = 256;
const GZIP_OVERHEAD = 18;
const LENGTHS_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

// RFC 1951, 3.2.5 and 3.2.6: extra bits and fixed code lengths by symbol, the symbols of lengths and distances.
const EXTRA_BITS = new Uint8Array(SYMBOLS), FIXED_BITS = new Uint8Array(SYMBOLS);
for (let code = 8; code < 28; code++) EXTRA_BITS[257 + code] = (code >> 2) - 1;
for (let code = 4; code < DISTANCES; code++) EXTRA_BITS[DISTANCE + code] = (code >> 1) - 1;
FIXED_BITS.fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280, LITERALS);
FIXED_BITS.fill(5, DISTANCE, DISTANCE + DISTANCES);

const LENGTH_SYMBOL = new Uint16Array(MAX_MATCH + 1), DISTANCE_SYMBOL = new Uint16Array(WINDOW + 1);
for (let code = 0, start = MIN_MATCH; code < 28; code++) {
  const end = start + (1 << EXTRA_BITS[257 + code]);
  LENGTH_SYMBOL.fill(257 + code, start, end);
  start = end;
}
LENGTH_SYMBOL[MAX_MATCH] = 285;
for (let code = 0, start = 1; code < DISTANCES; code++) {
  const end = start + (1 << EXTRA_BITS[DISTANCE + code]);
  DISTANCE_SYMBOL.fill(DISTANCE + code, start, end);
  start = end;
}

/** zlib's hash chains of some bytes: `insert` adds a position, `longest` finds the match at a position. */
class Chains {
  constructor(data) {
    this.data = data;
    this.head = new Int32Array(WINDOW);
    this.previous = new Int32Array(WINDOW);
    this.source = 0;
  }

  /** Puts position i at the head of its chain and returns the previous head; 0 means none. */
  insert(i) {
    const { data, head } = this;
    const hash = ((data[i] << 10) ^ (data[i + 1] << 5) ^ data[i + 2]) & (WINDOW - 1);
    const candidate = head[hash];
    this.previous[i & (WINDOW - 1)] = candidate;
    head[hash] = i;
    return candidate;
  }

  /** Returns the length of the longest match at i above `best` bytes, else `best`; `source` is its position. */
  longest(i, candidate, best) {
    const { data, previous } = this;
    const most = Math.min(MAX_MATCH, data.length - i), limit = Math.max(i - MAX_DISTANCE, 0);
    let left = best >= GOOD_MATCH ? GOOD_CHAIN : CHAIN;
    while (best < most) {
      if (data[candidate + best] === data[i + best]) {
        let length = 0;
        while (length < most && data[candidate + length] === data[i + length]) length++;
        if (length > best) {
          best = length;
          this.source = candidate;
        }
      }
      candidate = previous[candidate & (WINDOW - 1)];
      if (candidate <= limit || --left === 0) break;
    }
    return best;
  }
}

function newBlock() {
  const counts = new Int32Array(SYMBOLS);
  counts[END_OF_BLOCK] = 1;
  return counts;
}

/** The blocks of the deflate stream: the symbol counts of each, and the position after its last byte. */
function parse(data) {
  const n = data.length, chains = new Chains(data), blocks = [];
  let counts = newBlock(), symbols = 0, i = 0;
  let length = MIN_MATCH - 1, source = 0;
  let pending = false; // whether data[i - 1] is not yet a literal or the start of a match
  while (i < n) {
    const waitingLength = length, waitingSource = source;
    const candidate = n - i >= MIN_MATCH ? chains.insert(i) : 0;
    length = MIN_MATCH - 1;
    if (candidate !== 0 && waitingLength < MAX_MATCH && i - candidate <= MAX_DISTANCE) {
      length = chains.longest(i, candidate, waitingLength);
      source = chains.source;
      if (length === MIN_MATCH && i - source > TOO_FAR) length = MIN_MATCH - 1;
    }
    if (waitingLength >= MIN_MATCH && length <= waitingLength) {
      counts[LENGTH_SYMBOL[waitingLength]]++;
      counts[DISTANCE_SYMBOL[i - 1 - waitingSource]]++;
      symbols++;
      const after = i - 1 + waitingLength;
      for (let j = i + 1; j < Math.min(after, n - MIN_MATCH + 1); j++) chains.insert(j);
      i = after;
      pending = false;
      length = MIN_MATCH - 1;
    } else {
      if (pending) {
        counts[data[i - 1]]++;
        symbols++;
      }
      pending = true;
      if (symbols < BLOCK) i++;
    }
    if (symbols === BLOCK) { // the pending literal belongs to the next block
      blocks.push({ counts, end: i });
      counts = newBlock();
      symbols = 0;
      if (pending) i++;
    }
  }
  if (pending) counts[data[n - 1]]++;
  blocks.push({ counts, end: n });
  return blocks;
}

// Heap entries are count << 15 | depth << 10 | node, compared without the node; the later of equals moves down.
function sift(heap, k) {
  const entry = heap[k];
  for (let child = 2 * k; child < heap.length; child *= 2) {
    if (child + 1 < heap.length && heap[child + 1] >> 10 <= heap[child] >> 10) child++;
    if (entry >> 10 <= heap[child] >> 10) break;
    heap[k] = heap[child];
    k = child;
  }
  heap[k] = entry;
}

/** Joins the two rarest subtrees until one is left; returns the two children of each new node, in order. */
function merge(heap, size) {
  const sons = [];
  for (let k = heap.length >> 1; k > 0; k--) sift(heap, k);
  while (heap.length > 2) {
    const a = heap[1];
    heap[1] = heap.pop();
    sift(heap, 1);
    const b = heap[1];
    sons.push(a & 1023, b & 1023);
    const depth = Math.max((a >> 10) & 31, (b >> 10) & 31) + 1;
    heap[1] = (((a >> 15) + (b >> 15)) << 15) | (depth << 10) | (size + sons.length / 2 - 1);
    sift(heap, 1);
  }
  return sons;
}

/** Returns zlib's code lengths for symbol counts, the highest symbol in use, and the bits of all symbols. */
function codeLengths(counts, longest) {
  const size = counts.length, heap = [0];
  counts.forEach((count, s) => count && heap.push((count << 15) | s));
  let top = heap.length > 1 ? heap[heap.length - 1] & 1023 : -1;
  const used = counts.slice();
  while (heap.length < 3) { // the format needs two codes; the added ones are not used
    const symbol = top < 2 ? ++top : 0;
    heap.push((1 << 15) | symbol);
  }
  const sons = merge(heap, size), lengths = new Uint8Array(size + sons.length / 2), ofLength = new Int32Array(32);
  let overflow = 0;
  for (let j = sons.length - 1; j >= 0; j--) { // the root, whose length is 0, comes last
    let length = lengths[size + (j >> 1)] + 1;
    if (length > longest) {
      length = longest;
      overflow++;
    }
    lengths[sons[j]] = length;
    if (sons[j] < size) ofLength[length]++;
  }
  if (overflow > 0) shorten(lengths, ofLength, sons, size, longest, overflow);
  let bits = 0;
  for (let s = 0; s < size; s++) bits += used[s] * lengths[s];
  return { lengths: lengths.subarray(0, top + 1), bits };
}

/** If codes are longer than allowed, a leaf moves down and one that is too deep becomes its sibling. */
function shorten(lengths, ofLength, sons, size, longest, overflow) {
  for (; overflow > 0; overflow -= 2) {
    let length = longest - 1;
    while (ofLength[length] === 0) length--;
    ofLength[length]--;
    ofLength[length + 1] += 2;
    ofLength[longest]--;
  }
  let length = longest;
  for (const son of sons) { // the rarest symbols get the longest codes
    if (son >= size) continue;
    while (ofLength[length] === 0) length--;
    ofLength[length]--;
    lengths[son] = length;
  }
}

/** Counts the symbols (0 to 15 a length, 16 to 18 repeats) that describe some code lengths. */
function countRuns(lengths, runs) {
  for (let s = 0, end; s < lengths.length; s = end) {
    const length = lengths[s];
    for (end = s + 1; lengths[end] === length; ) end++;
    let left = end - s;
    if (length === 0) {
      runs[18] += Math.floor(left / 138);
      left %= 138;
      if (left > 10) runs[18]++;
      else if (left > 2) runs[17]++;
      else runs[0] += left;
    } else {
      runs[length]++; // the length itself, then repeats of 3 to 6
      left--;
      runs[16] += Math.floor(left / 6);
      left %= 6;
      if (left > 2) runs[16]++;
      else runs[length] += left;
    }
  }
}

/** Counts the bits of a block with a dynamic code, without extra bits and the first three. */
function dynamicBits(counts) {
  const runs = new Int32Array(19);
  const literals = codeLengths(counts.subarray(0, LITERALS), 15);
  countRuns(literals.lengths, runs);
  const distances = codeLengths(counts.subarray(DISTANCE, DISTANCE + DISTANCES), 15);
  countRuns(distances.lengths, runs);
  const trees = codeLengths(runs, 7);
  let last = 18;
  while (last >= 3 && !trees.lengths[LENGTHS_ORDER[last]]) last--;
  const repeats = 2 * runs[16] + 3 * runs[17] + 7 * runs[18];
  return literals.bits + distances.bits + trees.bits + repeats + 3 * (last + 1) + 14;
}

/** Returns the bit after a block of `stored` bytes from bit `at` on: stored, or with a fixed or dynamic code. */
function afterBlock(counts, stored, at) {
  let extra = 0, fixed = 0;
  for (let s = 0; s < SYMBOLS; s++) {
    extra += counts[s] * EXTRA_BITS[s];
    fixed += counts[s] * (EXTRA_BITS[s] + FIXED_BITS[s]);
  }
  const dynamic = extra + dynamicBits(counts);
  const fixedBytes = (fixed + 10) >> 3, dynamicBytes = (dynamic + 10) >> 3;
  if (stored + 4 <= Math.min(fixedBytes, dynamicBytes)) return ((at + 10) & -8) + 32 + 8 * stored;
  return at + 3 + (fixedBytes <= dynamicBytes ? fixed : dynamic);
}

/** The gzip length of a Uint8Array, in bytes. */
export function gzipLength(data) {
  let at = 0, start = 0;
  for (const { counts, end } of parse(data)) {
    at = afterBlock(counts, end - start, at);
    start = end;
  }
  return GZIP_OVERHEAD + ((at + 7) >> 3);
}
