// Draws rules and start grids, as `ncagen/sources/nca/rules.py` defines them.

#define PERCEPTION 0u  // the purposes of blocks, of philox.py
#define HIDDEN 1u
#define OUTPUT 2u
#define START_WEIGHTS 3u
#define START_CELLS 4u
#define NOISE 16u

#define UNITS 16
#define PLACES 9
#define LIFT 3638   // 2 * 1819: no channel borrows from the next (rules.py)
#define CENTRE 26u  // 2**15 - 9 * LIFT

// 65536 entries each. weights: of perception, hidden and output, one after another.
struct Tables {
    const i16* weights;
    const i32* start;
    const i32* gumbel;
};

// A rule in shared memory. perception: [PLACES * STATES], four lifted 16-bit channels each. hidden: [UNITS], the four
// weights of a unit. output: [STATES * UNITS / 4].
struct Rule {
    u64* perception;
    Four* hidden;
    Four* output;
};

FUNCTION Rule rule_arrays(Shared& shared) {
    Rule rule;
    rule.perception = shared.array<u64>(PLACES * STATES);
    rule.hidden = shared.array<Four>(UNITS);
    rule.output = shared.array<Four>(STATES * UNITS / 4);
    return rule;
}

// The weights of a layer (PERCEPTION, HIDDEN or OUTPUT) at four neighbouring words.
FUNCTION Four four_weights(const Tables& tables, Key key, u32 layer, u64 number, u32 quad) {
    const i16* table = tables.weights + layer * 65536;
    Quad words = four_words(key, layer, number, quad);
    return {table[words.w[0]], table[words.w[1]], table[words.w[2]], table[words.w[3]]};
}

FUNCTION void add_four(Four& sum, Four more) {
    sum.x += more.x;
    sum.y += more.y;
    sum.z += more.z;
    sum.w += more.w;
}

FUNCTION void draw_rule(const Tables& tables, Key key, u64 number, Rule rule) {
    EACH(lane) {
        for (u32 entry = lane; entry < PLACES * STATES; entry += TEAM) {
            u32 place = entry / STATES, state = entry % STATES;
            u32 first = place * (STATES + 2 * WRAP);
            Four w = four_weights(tables, key, PERCEPTION, number, first + state + WRAP);
            // The first wrapped channel is the last state again, the last one state 0: see fold_wrap.
            if (WRAP && state == STATES - 1) add_four(w, four_weights(tables, key, PERCEPTION, number, first));
            if (WRAP && state == 0) add_four(w, four_weights(tables, key, PERCEPTION, number, first + STATES + 1));
            u32 low = (u32)(w.x + LIFT) | (u32)(w.y + LIFT) << 16;
            u32 high = (u32)(w.z + LIFT) | (u32)(w.w + LIFT) << 16;
            rule.perception[entry] = (u64)high << 32 | low;
        }
        for (u32 unit = lane; unit < UNITS; unit += TEAM)
            rule.hidden[unit] = four_weights(tables, key, HIDDEN, number, unit);
        for (u32 quad = lane; quad < STATES * UNITS / 4; quad += TEAM)
            rule.output[quad] = four_weights(tables, key, OUTPUT, number, quad);
    }
    SYNC();
}

// Writes a start grid. ends: [STATES] of shared memory.
FUNCTION void draw_start(const Tables& tables, Key key, u64 candidate, u32* ends, u8* grid) {
    if (!UNIFORM_START) {
        EACH(lane) {
            for (u32 state = lane; state < STATES; state += TEAM) {
                Quad words = four_words(key, START_WEIGHTS, candidate, state / 4);
                u32 word = state & 2 ? (state & 1 ? words.w[3] : words.w[2]) : (state & 1 ? words.w[1] : words.w[0]);
                ends[state] = tables.start[word];
            }
        }
        SYNC();
        EACH(lane) {
            if (lane == 0)
                for (u32 state = 1; state < STATES; state++) ends[state] += ends[state - 1];
        }
        SYNC();
    }
    EACH(lane) {
        for (u32 quad = lane; quad < (CELLS + 3) / 4; quad += TEAM) {
            Quad words = four_words(key, START_CELLS, candidate, quad);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                u32 state = 0;
                if (UNIFORM_START) {
                    state = words.w[i] * STATES >> 16;
                } else {
                    u32 point = (u64)words.w[i] * ends[STATES - 1] >> 16;
                    for (u32 s = 0; s < STATES; s++) state += point >= ends[s];
                }
                if (quad * 4 + i < CELLS) grid[quad * 4 + i] = state;
            }
        }
    }
    SYNC();
}
