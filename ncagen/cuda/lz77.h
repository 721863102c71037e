// Finds the matches of a row of tokens and follows zlib's parse, as `ncagen/deflate/lz77.py` defines them for short
// rows.
//
// At each position the match is the nearest of the longest among all earlier ones. Here they are found for all
// positions at once: a lane compares the tokens that are so many apart, from the last pair on, so how far a pair agrees
// follows from the pair after it. Then one lane follows the lazy parse.
//
// Not covered: a match that zlib's GOOD_CHAIN might hide. `parse` says so, and the host computes the length.

#define BYTES (4 * SCORED)
#define MAX_MATCH 258u
#define GOOD_MATCH 32u
#define GOOD_CHAIN 1024u
#define FARTHEST 4095u

// A match is length << 12 | FARTHEST - distance. A step is the place where the parse goes on, and three bits.
#define PLACE 0x1FFFu
#define LITERAL (1u << 13)    // the step is that of one byte
#define IS_HIDDEN (1u << 14)  // GOOD_CHAIN may matter
#define TAKEN (1u << 15)      // the parse takes the step

// A row of tokens.
//
//   tokens      [1 + SCORED + TEAM], a 0 before the first, BEYOND after the last
//   best        [SCORED], for each token how far an earlier one agrees from its first byte on, as a match is stored
//   matches     [4 * (SCORED + 1)], the longest match of each byte, at place_of(byte)
//   steps       [4 * (SCORED + 1)], the step of the parse from each byte, at the same places
//   special     [MOST_SPECIAL], tokens with a zero byte among their lower two; specials: how many there are
//   is_general  not 0 where only `match_all` finds all matches
struct Row {
    u32 *tokens, *best, *matches;
    u16 *steps, *special;
    u32 *specials, *is_general;
};

#define MOST_SPECIAL 64u
#define BEYOND 0x10000u  // no token of two bytes has its bit

FUNCTION Row row_arrays(Shared& shared) {
    Row row;
    row.tokens = shared.array<u32>(1 + SCORED + TEAM);
    row.best = shared.array<u32>(SCORED);
    row.steps = shared.array<u16>(4 * (SCORED + 1));
    row.special = shared.array<u16>(MOST_SPECIAL);
    row.specials = shared.array<u32>(1);
    row.is_general = shared.array<u32>(1);
    row.matches = 0;
    return row;
}

// Where byte i stands, in an order without bank conflicts: the same byte of neighbouring tokens follows.
FUNCTION u32 place_of(u32 i) { return (i & 3) * (SCORED + 1) + (i >> 2); }

FUNCTION void raise_match(u32* matches, u32 i, u32 length, u32 distance) {
    raise_to(matches + place_of(i), smaller(length, MAX_MATCH) << 12 | (FARTHEST - distance));
}

template <typename T>
FUNCTION void read_row(const T* from, const Row& row) {
    EACH(lane) {
        if (lane == 0) *row.specials = *row.is_general = row.tokens[0] = 0;
        row.tokens[1 + SCORED + lane] = BEYOND;
        for (u32 i = lane; i < 4 * (SCORED + 1); i += TEAM) row.matches[i] = 0;
    }
    SYNC();
    EACH(lane) {
        for (u32 t = lane; t < SCORED; t += TEAM) {
            u32 token = from[t];
            row.tokens[1 + t] = token;
            row.best[t] = 0;
            if (token > 0xFFFF) raise_to(row.is_general, 1);
            if ((token & 0xFF) == 0 || (token & 0xFF00) == 0) {
                u32 place = take_one(row.specials);
                if (place < MOST_SPECIAL)
                    row.special[place] = t;
                else
                    raise_to(row.is_general, 1);
            }
        }
    }
    SYNC();
}

// Raises the matches that end with a token from whose first byte on so many bytes agree.
FUNCTION void raise_agreeing(u32* matches, u32 token, u32 agree, u32 distance) {
    if (agree >= 4) raise_match(matches, 4 * token, agree, distance);
    if (agree >= 4 && token) raise_match(matches, 4 * token - 1, agree + 1, distance);
    if (agree >= 1 && token) raise_match(matches, 4 * token - 2, agree + 2, distance);
}

// Compares tokens of two bytes at distances of whole tokens: the high bytes equal, a match of byte 1 of the token; all
// else follows from `best`.
FUNCTION void match_tokens(const Row& row) {
    EACH(lane) {
        for (u32 base = 1; base < SCORED; base += TEAM) {
            u32 apart = base + lane, nearness = FARTHEST - 4 * apart;
            // In bytes, from the pair after this one on. Beyond the last token stand TEAM numbers that agree with none.
            u32 agree = 0;
#pragma unroll 4
            for (i32 source = SCORED - 1 - (i32)base; source >= 0; source--) {
                u32 token = source + apart, differ = row.tokens[1 + token] ^ row.tokens[1 + source];
                if (differ < 256)
                    raise_to(row.matches + (SCORED + 1) + token, smaller(3 + agree, MAX_MATCH) << 12 | nearness);
                agree = differ == 0 ? agree + 4 : (differ & 0x100FF) == 0;
                // Position 0 is "none" to zlib, and no match begins there.
                if (agree && source > 0) {
                    raise_to(row.best + token, agree << 12 | nearness);
                    // Of matches that MAX_MATCH cuts the nearest counts, which may agree for less than the best.
                    if (agree > MAX_MATCH - 3) raise_agreeing(row.matches, token, agree, 4 * apart);
                }
            }
        }
    }
    SYNC();
    EACH(lane) {
        for (u32 token = lane; token < SCORED; token += TEAM) {
            u32 match = row.best[token];
            raise_agreeing(row.matches, token, match >> 12, FARTHEST - (match & FARTHEST));
        }
    }
    SYNC();
}

// The four bytes from i on.
FUNCTION u32 four_bytes(const u32* tokens, u32 i) {
    return shift_pair(tokens[1 + i / 4], tokens[2 + i / 4], 8 * (i & 3));
}

// Tries two positions as a match, in either order.
FUNCTION void try_match(const Row& row, i32 a, i32 b) {
    i32 source = a < b ? a : b, here = a < b ? b : a;
    if (source < 1 || source == here) return;
    u32 most = smaller(MAX_MATCH, BYTES - here), length = 0;
    while (length < most) {
        u32 differ = four_bytes(row.tokens, here + length) ^ four_bytes(row.tokens, source + length);
        if (differ) {
            length += trailing_zeros(differ) >> 3;
            break;
        }
        length += 4;
    }
    length = smaller(length, most);
    if (length >= 3) raise_match(row.matches, here, length, here - source);
}

// Tries all matches of tokens of two bytes at other distances. Three bytes that are equal there have a zero byte of a
// token: `token_parse._add_shifted` lists the ways. x and y are the bytes of that token, p and q those of the other.
FUNCTION void match_special(const Row& row) {
    EACH(lane) {
        for (u32 i = 0; i < *row.specials; i++) {
            u32 z = row.special[i], x = row.tokens[1 + z] & 0xFF, y = row.tokens[1 + z] >> 8;
            for (u32 t = lane; t < SCORED; t += TEAM) {
                u32 p = row.tokens[1 + t] & 0xFF, q = row.tokens[1 + t] >> 8;
                i32 there = 4 * z, here = 4 * t;
                if (y == 0) {
                    if (q == x) try_match(row, there, here + 1);
                    if (q == x && p == 0) try_match(row, there - 1, here);
                    if (p == 0) try_match(row, there + 1, here - 2);
                }
                if (x == 0) {
                    if (p == y) try_match(row, there - 1, here - 2);
                    if (y == 0 && p == 0) try_match(row, there, here - 2);
                    if (y == 0 && q == 0) try_match(row, there - 1, here + 1);
                }
            }
        }
    }
    SYNC();
}

// Compares tokens of any bytes at all distances.
FUNCTION void match_all(const Row& row) {
    EACH(lane) {
        for (u32 base = 0; base < SCORED; base += TEAM) {
            u32 apart = base + lane;
            u32 agree[4] = {0, 0, 0, 0};  // bytes, from the pair after this one on, at distances 4 * apart + 0 to 3
            for (i32 source = SCORED - 1 - (i32)base; source >= 0; source--) {
                u32 token = source + apart;
                if (token >= SCORED) continue;
                u32 here = row.tokens[1 + token], there = row.tokens[1 + source], before = row.tokens[source];
#pragma unroll
                for (u32 more = 0; more < 4; more++) {
                    // The four bytes `distance` before the token.
                    u32 differ = here ^ (more ? shift_pair(before, there, 32 - 8 * more) : there);
                    u32 after = agree[more], distance = 4 * apart + more;
                    agree[more] = differ ? trailing_zeros(differ) >> 3 : smaller(after + 4, MAX_MATCH);
                    if (distance == 0) continue;
                    // Position 0 is "none" to zlib: the source of a match is beyond it.
                    bool inside = source > 0;
                    u32 *matches = row.matches + token, near = FARTHEST - distance;
                    if (agree[more] >= 3 && inside) raise_to(matches, agree[more] << 12 | near);
                    // Where the last bytes of the token agree, the match goes on as that of the token after it.
                    if (differ >> 24) continue;
                    if (after >= 2 && (inside || more < 3))
                        raise_to(matches + 3 * (SCORED + 1), smaller(after + 1, MAX_MATCH) << 12 | near);
                    if (differ >> 16) continue;
                    if (after >= 1 && (inside || more < 2))
                        raise_to(matches + 2 * (SCORED + 1), smaller(after + 2, MAX_MATCH) << 12 | near);
                    if (differ < 256 && (inside || more < 1))
                        raise_to(matches + (SCORED + 1), smaller(after + 3, MAX_MATCH) << 12 | near);
                }
            }
        }
    }
    SYNC();
}

// Finds the longest match of each byte.
FUNCTION void find_matches(const Row& row) {
    if (*row.is_general) {
        match_all(row);
    } else {
        match_tokens(row);
        match_special(row);
    }
}

// Follows zlib's lazy parse, and marks the steps that it takes. is_hidden: set to 1 where GOOD_CHAIN may matter: while
// a match of GOOD_MATCH bytes waits, zlib tries GOOD_CHAIN candidates, and those that are no further away are among
// them.
FUNCTION void parse(const Row& row, u32* is_hidden) {
    EACH(lane) {
        for (u32 i = lane; i < BYTES; i += TEAM) {
            u32 here = row.matches[place_of(i)], there = row.matches[place_of(i + 1)];
            bool longer = there >> 12 > here >> 12, literal = longer || here == 0;
            bool hidden = longer && here >> 12 >= GOOD_MATCH && (there & FARTHEST) < FARTHEST - GOOD_CHAIN;
            u32 step = place_of(literal ? i + 1 : i + (here >> 12));
            row.steps[place_of(i)] = step | (literal ? LITERAL : 0) | (hidden ? IS_HIDDEN : 0);
        }
    }
    SYNC();
    EACH(lane) {
        if (lane == 0) {
            u32 place = 0, flags = 0;
            while (place != place_of(BYTES)) {
                u32 step = row.steps[place];
                row.steps[place] = step | TAKEN;
                flags |= step;
                place = step & PLACE;
            }
            *is_hidden = (flags & IS_HIDDEN) != 0;
        }
    }
    SYNC();
}
