// Runs the automaton, as `ncagen/sources/nca/definition.py` defines it, in shared memory.
//
// Integers only, with the bounds of rules.py. Noise is drawn only for cells whose two largest logits are within its
// reach: they are listed, and settled after the others, so that lanes do not wait for one another's noise.

struct Noise {
    i64 temperature;  // in units of logits, before the shift by GUMBEL_SHIFT
    u32 reach;        // the most that noise can gain
    i32 bias;         // of a cell's own state
};

#define GUMBEL_SHIFT 12

// The arrays that a step reads and writes. now, then: [CELLS]. close: [CELLS], the listed cells. count: of them.
struct Grids {
    u8 *now, *then;
    u16* close;
    u32* count;
};

FUNCTION Grids grid_arrays(Shared& shared) {
    Grids grids;
    grids.now = shared.array<u8>(CELLS);
    grids.then = shared.array<u8>(CELLS);
    grids.close = shared.array<u16>(HAS_NOISE ? CELLS : 1);
    grids.count = shared.array<u32>(1);
    return grids;
}

FUNCTION Four perceive(const u64* perception, const u8* grid, u32 cell) {
    u32 y = cell / WIDTH, x = cell % WIDTH;
    u32 rows[3] = {(y ? y - 1 : HEIGHT - 1) * WIDTH, y * WIDTH, (y + 1 < HEIGHT ? y + 1 : 0) * WIDTH};
    u32 columns[3] = {x ? x - 1 : WIDTH - 1, x, x + 1 < WIDTH ? x + 1 : 0};
    u32 low = CENTRE * 0x00010001u, high = CENTRE * 0x00010001u;
#pragma unroll
    for (u32 place = 0; place < PLACES; place++) {
        u64 weights = perception[place * STATES + grid[rows[place / 3] + columns[place % 3]]];
        low += (u32)weights;
        high += (u32)(weights >> 32);
    }
    low ^= 0x80008000u;
    high ^= 0x80008000u;
    return {(i16)low, (i32)low >> 16, (i16)high, (i32)high >> 16};
}

FUNCTION i32 unit_of(Four weights, Four seen) {
    i32 sum = weights.x * seen.x + weights.y * seen.y + weights.z * seen.z + weights.w * seen.w;
    return (sum < 0 ? 0 : sum) >> 16;
}

// A logit. weights: [UNITS / 4], those of the state. bias: where it is the cell's own.
FUNCTION i32 logit_of(const Four* weights, const i32* units, i32 bias) {
    i32 sum = bias;
#pragma unroll
    for (u32 quad = 0; quad < UNITS / 4; quad++) {
        Four w = weights[quad];
        const i32* u = units + 4 * quad;
        sum += w.x * u[0] + w.y * u[1] + w.z * u[2] + w.w * u[3];
    }
    return sum;
}

FUNCTION i32 bias_of(const Noise& noise, bool own) { return HAS_BIAS && own ? noise.bias : 0; }

// Computes the next state of all cells but for noise, and lists those that noise may decide.
FUNCTION void best_states(const Rule& rule, const Noise& noise, const Grids& grids) {
    EACH(lane) {
        for (u32 first = lane; first < CELLS; first += TEAM * TOGETHER) {
            i32 units[TOGETHER][UNITS];
            u32 own[TOGETHER], state[TOGETHER];
            i32 best[TOGETHER], second[TOGETHER];
            {
                Four seen[TOGETHER];
#pragma unroll
                for (u32 i = 0; i < TOGETHER; i++) {
                    u32 cell = first + i * TEAM < CELLS ? first + i * TEAM : first;
                    seen[i] = perceive(rule.perception, grids.now, cell);
                    own[i] = grids.now[cell];
                    state[i] = 0;
                    best[i] = second[i] = -2147483647 - 1;
                }
#pragma unroll
                for (u32 unit = 0; unit < UNITS; unit++) {
                    Four weights = rule.hidden[unit];
#pragma unroll
                    for (u32 i = 0; i < TOGETHER; i++) units[i][unit] = unit_of(weights, seen[i]);
                }
            }
#pragma unroll 1
            for (u32 s = 0; s < STATES; s++) {
                Four w[UNITS / 4];
#pragma unroll
                for (u32 quad = 0; quad < UNITS / 4; quad++) w[quad] = rule.output[s * (UNITS / 4) + quad];
#pragma unroll
                for (u32 i = 0; i < TOGETHER; i++) {
                    i32 logit = logit_of(w, units[i], bias_of(noise, s == own[i]));
                    i32 less = logit < best[i] ? logit : best[i];
                    second[i] = second[i] < less ? less : second[i];
                    state[i] = logit > best[i] ? s : state[i];
                    best[i] = best[i] < logit ? logit : best[i];
                }
            }
#pragma unroll
            for (u32 i = 0; i < TOGETHER; i++) {
                u32 cell = first + i * TEAM;
                if (cell >= CELLS) continue;
                grids.then[cell] = state[i];
                if (HAS_NOISE && (u32)best[i] - (u32)second[i] <= noise.reach) {
                    grids.close[take_one(grids.count)] = cell;
                }
            }
        }
    }
    SYNC();
}

// Settles the listed cells. step: 1 is the first.
FUNCTION void settle(const Tables& tables, Key key, u64 candidate, u32 step, const Rule& rule, const Noise& noise,
                     const Grids& grids) {
    EACH(lane) {
        for (u32 i = lane; i < *grids.count; i += TEAM) {
            u32 cell = grids.close[i], own = grids.now[cell], winner = 0;
            Four seen = perceive(rule.perception, grids.now, cell);
            i32 units[UNITS];
#pragma unroll
            for (u32 unit = 0; unit < UNITS; unit++) units[unit] = unit_of(rule.hidden[unit], seen);
            // `best_states` left the state with the largest logit.
            u32 named = grids.then[cell];
            i32 best = logit_of(rule.output + named * (UNITS / 4), units, bias_of(noise, named == own));
            i64 top = -(1ll << 62);
            for (u32 s = 0; s < STATES; s += 4) {
                Quad words;
                bool drawn = false;
#pragma unroll
                for (u32 j = 0; j < 4; j++) {
                    if (s + j >= STATES) continue;
                    i32 logit = logit_of(rule.output + (s + j) * (UNITS / 4), units, bias_of(noise, s + j == own));
                    if ((u32)best - (u32)logit > noise.reach) continue;
                    // A state has a word of a block of eight; a cell has ceil(STATES / 8) blocks.
                    if (!drawn) words = four_words(key, NOISE + step, candidate, cell * ((STATES + 7) / 8) * 2 + s / 4);
                    drawn = true;
                    i64 sum = logit + (tables.gumbel[words.w[j]] * noise.temperature >> GUMBEL_SHIFT);
                    winner = sum > top ? s + j : winner;
                    top = sum > top ? sum : top;
                }
            }
            grids.then[cell] = winner;
        }
    }
    SYNC();
}

// Runs one step of the grid `now`, in place. step: 1 is the first.
FUNCTION void run_step(const Tables& tables, Key key, u64 candidate, u32 step, const Rule& rule, const Noise& noise,
                       Grids& grids) {
    if (HAS_NOISE) {
        EACH(lane) {
            if (lane == 0) *grids.count = 0;
        }
        SYNC();
    }
    best_states(rule, noise, grids);
    if (HAS_NOISE) settle(tables, key, candidate, step, rule, noise, grids);
    u8* before = grids.now;
    grids.now = grids.then;
    grids.then = before;
}

// Writes the patches of a grid: [PATCHES], row by row. A patch's cells are digits, the lowest first.
template <typename T>
FUNCTION void write_patches(const u8* grid, T* out) {
    EACH(lane) {
        for (u32 patch = lane; patch < PATCHES; patch += TEAM) {
            u32 corner = patch / (WIDTH / PATCH) * PATCH * WIDTH + patch % (WIDTH / PATCH) * PATCH;
            u32 number = 0;
            for (i32 digit = PATCH * PATCH - 1; digit >= 0; digit--)
                number = number * STATES + grid[corner + digit / PATCH * WIDTH + digit % PATCH];
            out[patch] = number;
        }
    }
    SYNC();
}
