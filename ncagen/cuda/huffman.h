// Computes the exact gzip length from the parse, as `ncagen/deflate/huffman.py` defines the bits.
//
// The tree of the literals and that of the distances are built by two lanes side by side.

#define OVERHEAD 18  // bytes of a gzip header and trailer
#define UNKNOWN -1

#define LITERALS 286u
#define DISTANCES 30u
#define RUN_CODES 19u
#define DISTANCE 288u  // where the counts of distances begin
#define SYMBOLS 320u
#define END_OF_BLOCK 256u

// RFC 1951, 3.2.5: the symbol of a length, and of a distance.
FUNCTION u32 length_symbol(u32 length) {
    u32 rest = length - 3;
    if (rest < 8) return 257 + rest;
    if (length == MAX_MATCH) return 285;
    u32 extra = 29 - leading_zeros(rest);
    return 257 + 4 * extra + (rest >> extra);
}

FUNCTION u32 distance_symbol(u32 distance) {
    u32 rest = distance - 1;
    if (rest < 4) return rest;
    u32 extra = 30 - leading_zeros(rest);
    return 2 * extra + (rest >> extra);
}

FUNCTION u32 extra_bits(u32 symbol) {
    if (symbol >= DISTANCE) return symbol < DISTANCE + 4 ? 0 : (symbol - DISTANCE) / 2 - 1;
    return symbol < 265 || symbol == 285 ? 0 : (symbol - 257) / 4 - 1;
}

// RFC 1951, 3.2.6.
FUNCTION u32 fixed_bits(u32 symbol) {
    if (symbol >= DISTANCE) return 5;
    return symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
}

// Counts the symbols of the parse. counts: [SYMBOLS].
FUNCTION void count_symbols(const Row& row, i32* counts) {
    EACH(lane) {
        for (u32 symbol = lane; symbol < SYMBOLS; symbol += TEAM) counts[symbol] = symbol == END_OF_BLOCK;
    }
    SYNC();
    EACH(lane) {
        for (u32 i = lane; i < BYTES; i += TEAM) {
            u32 step = row.steps[place_of(i)], match = row.matches[place_of(i)];
            if (!(step & TAKEN)) continue;
            if (step & LITERAL) {
                add_to(counts + (row.tokens[1 + i / 4] >> 8 * (i % 4) & 255), 1);
            } else {
                add_to(counts + length_symbol(match >> 12), 1);
                add_to(counts + DISTANCE + distance_symbol(FARTHEST - (match & FARTHEST)), 1);
            }
        }
    }
    SYNC();
}

// Adds the extra bits of all symbols to sums[0], and all bits under the fixed code to sums[1].
FUNCTION void add_simple_bits(const i32* counts, i32* sums) {
    EACH(lane) {
        if (lane < 2) sums[lane] = 0;
    }
    SYNC();
    EACH(lane) {
        i32 extra = 0, fixed = 0;
        for (u32 symbol = lane; symbol < SYMBOLS; symbol += TEAM) {
            i32 bits = counts[symbol] * (i32)extra_bits(symbol);
            extra += bits;
            fixed += bits + counts[symbol] * (i32)fixed_bits(symbol);
        }
        add_to(sums, extra);
        add_to(sums + 1, fixed);
    }
    SYNC();
}

// The arrays of a tree of up to `size` symbols. heap: [size + 1], entries count << 15 | depth << 10 | node, from 1 on.
// merged: [2 * size], the children of node `size`, then those of `size` + 1 and so on. lengths: [2 * size], of codes.
struct Tree {
    u32* heap;
    u16* merged;
    u8* lengths;
};

FUNCTION Tree tree_arrays(Shared& shared, u32 size) {
    Tree tree;
    tree.heap = shared.array<u32>(size + 2);
    tree.merged = shared.array<u16>(2 * size);
    tree.lengths = shared.array<u8>(2 * size + 2);
    return tree;
}

#define NODE 1023u
#define DEPTH (31u << 10)
#define NOTHING 0xFFFFFFFFu

struct alignas(8) Siblings {
    u32 left, right;
};

// `pqdownheap`: restores the heap of `used` entries below slot k. The slot after the last holds NOTHING.
FUNCTION void sift(u32* heap, u32 k, u32 used) {
    u32 entry = heap[k];
    for (u32 child = 2 * k; child <= used; child = 2 * k) {
        Siblings both = *reinterpret_cast<Siblings*>(heap + child);
        bool is_right = both.right <= (both.left | NODE);
        u32 below = is_right ? both.right : both.left;
        if (entry <= (below | NODE)) break;
        heap[k] = below;
        k = child + is_right;
    }
    heap[k] = entry;
}

// `gen_bitlen` where a code would be longer than allowed. Returns the bits that all symbols take.
FUNCTION i32 limit_lengths(const i32* counts, u32 size, u32 longest, const Tree& tree, u32 nodes) {
    i32 of_length[16];
    for (u32 n = 0; n < 16; n++) of_length[n] = 0;
    i32 overflow = 0;
    for (i32 j = nodes - 1; j >= 0; j--) {
        u32 length = tree.lengths[size + (j >> 1)] + 1;
        if (length > longest) {
            length = longest;
            overflow++;
        }
        tree.lengths[tree.merged[j]] = length;
        if (tree.merged[j] < size) of_length[length]++;
    }
    while (overflow > 0) {  // a leaf moves down, and one that is too deep becomes its sibling
        u32 length = longest - 1;
        while (of_length[length] == 0) length--;
        of_length[length]--;
        of_length[length + 1] += 2;
        of_length[longest]--;
        overflow -= 2;
    }
    i32 bits = 0;
    u32 length = longest;
    for (u32 j = 0; j < nodes; j++) {  // the rarest symbols get the longest codes
        u32 symbol = tree.merged[j];
        if (symbol >= size) continue;
        while (of_length[length] == 0) length--;
        of_length[length]--;
        tree.lengths[symbol] = length;
        bits += counts[symbol] * (i32)length;
    }
    return bits;
}

// `build_tree`: writes the code lengths of counts: [size]. Returns the bits that all symbols take, without extra bits;
// `top` becomes the highest symbol with a code.
FUNCTION i32 code_lengths(const i32* counts, u32 size, u32 longest, const Tree& tree, i32& top) {
    u32 used = 0;
    i32 added = 0;
    top = -1;
    for (u32 symbol = 0; symbol < size; symbol++) {
        u32 count = counts[symbol];
        tree.lengths[symbol] = 0;
        if (count) {
            tree.heap[++used] = count << 15 | symbol;
            top = symbol;
        }
    }
    while (used < 2) {  // the format needs two codes; bits of the added ones are not counted
        u32 symbol = top < 2 ? ++top : 0;
        tree.heap[++used] = 1u << 15 | symbol;
        added++;
    }
    tree.heap[used + 1] = NOTHING;
    for (u32 k = used / 2; k > 0; k--) sift(tree.heap, k, used);
    u32 nodes = 0;
    i32 bits = 0;
    while (used >= 2) {
        u32 a = tree.heap[1];
        tree.heap[1] = tree.heap[used];
        tree.heap[used--] = NOTHING;
        sift(tree.heap, 1, used);
        u32 b = tree.heap[1];
        tree.merged[nodes] = a & NODE;
        tree.merged[nodes + 1] = b & NODE;
        u32 count = (a >> 15) + (b >> 15);
        u32 deeper = (a & DEPTH) > (b & DEPTH) ? a & DEPTH : b & DEPTH;
        bits += count;
        tree.heap[1] = count << 15 | (deeper + 1024) | (size + nodes / 2);
        nodes += 2;
        sift(tree.heap, 1, used);
    }
    u32 deepest = 0;
    tree.lengths[size + nodes / 2 - 1] = 0;  // the root
    for (i32 j = nodes - 1; j >= 0; j--) {
        u32 length = tree.lengths[size + (j >> 1)] + 1;
        tree.lengths[tree.merged[j]] = length;
        deepest = deepest < length ? length : deepest;
    }
    if (deepest > longest) return limit_lengths(counts, size, longest, tree, nodes);
    return bits - added;
}

// `scan_tree`: counts the symbols (0 to 15 a length, 16 to 18 repeats) that describe lengths[0] to lengths[top].
FUNCTION void count_runs(const u8* lengths, i32 top, i32* runs) {
    for (i32 start = 0; start <= top;) {
        u32 length = lengths[start];
        i32 end = start + 1;
        while (end <= top && lengths[end] == length) end++;
        i32 run = end - start;
        start = end;
        if (length == 0) {
            runs[18] += run / 138;
            run %= 138;
            if (run > 10)
                runs[18]++;
            else if (run > 2)
                runs[17]++;
            else
                runs[0] += run;
        } else {
            runs[length]++;  // the length itself comes first, then repeats of 3 to 6
            runs[16] += (run - 1) / 6;
            run = (run - 1) % 6;
            if (run > 2)
                runs[16]++;
            else
                runs[length] += run;
        }
    }
}

// The arrays of the trees. tops, bits: [2], of literals and distances. runs: [RUN_CODES].
struct Trees {
    Tree literals, distances;
    i32 *tops, *bits, *runs;
};

FUNCTION Trees trees_arrays(Shared& shared) {
    Trees trees;
    trees.literals = tree_arrays(shared, LITERALS);
    trees.distances = tree_arrays(shared, DISTANCES);
    trees.tops = shared.array<i32>(2);
    trees.bits = shared.array<i32>(2);
    trees.runs = shared.array<i32>(RUN_CODES + 1);  // which are read four at a time
    return trees;
}

// Writes to trees.bits[0] the bits of the symbols and trees under a dynamic code, without extra bits and the first
// three.
FUNCTION void count_dynamic_bits(const i32* counts, const Trees& trees) {
    EACH(lane) {
        if (lane < 2) {
            // Chosen one by one: an array of structures would be put into local memory.
            const Tree tree = {lane ? trees.distances.heap : trees.literals.heap,
                               lane ? trees.distances.merged : trees.literals.merged,
                               lane ? trees.distances.lengths : trees.literals.lengths};
            trees.bits[lane] =
                code_lengths(counts + (lane ? DISTANCE : 0), lane ? DISTANCES : LITERALS, 15, tree, trees.tops[lane]);
        }
    }
    SYNC();
    EACH(lane) {
        if (lane == 0) {
            i32* runs = trees.runs;
            for (u32 s = 0; s <= RUN_CODES; s++) runs[s] = 0;
            count_runs(trees.literals.lengths, trees.tops[0], runs);
            count_runs(trees.distances.lengths, trees.tops[1], runs);
            i32 top;  // the lengths of the distances are no longer needed
            i32 bits = code_lengths(runs, RUN_CODES, 7, trees.distances, top);
            bits += 2 * runs[16] + 3 * runs[17] + 7 * runs[18];
            // RFC 1951, 3.2.7: the order of the code lengths' codes; those after the last that is used are left out.
            const u8 order[RUN_CODES] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
            i32 last = RUN_CODES - 1;
            while (last >= 3 && trees.distances.lengths[order[last]] == 0) last--;
            trees.bits[0] += trees.bits[1] + bits + 3 * (last + 1) + 14;
        }
    }
    SYNC();
}

// The gzip length for so many bits under a code, the shorter of the two: `after_block` of `huffman.py` at bit 0.
FUNCTION i32 stored_or(i32 code_bits) {
    i32 bytes = (code_bits + 10) >> 3;
    return OVERHEAD + (BYTES + 4 <= bytes ? BYTES + 5 : bytes);
}
