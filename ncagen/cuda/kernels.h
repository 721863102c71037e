// The kernels. A block of TEAM lanes works on one candidate, or on one row.
//
//   rollout   draws the rule and the start grid of candidate `block`, and runs it through its scored grids
//   score     computes the gzip length of these grids
//   rows      runs candidate chosen[block] to the end of its row, and writes the row
//
// Not covered: which candidates are chosen (the host reads the scores).

// What a launch works on, in device memory: the layout of `program.WORK`.
struct Work {
    Key key, rule_key;       // of the candidates, and of the rules
    const u64* candidates;   // [candidate]
    const u64* rules;        // [candidate], the numbers of their rules
    const u64* later_rules;  // [candidate], of the rules from grid `change_at` on
    const u32* chosen;       // [row], indices of candidates
    Tables tables;
    Noise noise;
    u64 warmup, stride;  // steps before the first recorded grid, and between two
    u64 frames;          // recorded grids of a row
    u64 change_at;       // the first grid that follows another rule; beyond the last one if there is none
    u64 at_least;        // a length that is provably smaller may be written as 0
    Token* patches;      // [candidate, SCORED_FRAMES, PATCHES]
    u8* last;            // [candidate, CELLS], the last scored grid
    i32* scores;         // [candidate]
    Token* rows;         // [row, frames, PATCHES + 2]
};

static_assert(sizeof(Work) == 160, "program.WORK has another layout");

FUNCTION void draw_rule_of(const Work& work, u32 candidate, u64 frame, Rule rule) {
    const u64* numbers = frame < work.change_at ? work.rules : work.later_rules;
    draw_rule(work.tables, work.rule_key, numbers[candidate], rule);
}

// Runs a candidate from the grid before `frame` to that grid.
FUNCTION void run_to(const Work& work, u32 candidate, u64 frame, const Rule& rule, Grids& grids) {
    if (frame == work.change_at) draw_rule_of(work, candidate, frame, rule);
    u64 end = work.warmup + frame * work.stride, steps = frame ? work.stride : work.warmup;
    for (u64 step = end - steps + 1; step <= end; step++)
        run_step(work.tables, work.key, work.candidates[candidate], step, rule, work.noise, grids);
}

FUNCTION void rollout_block(const Work& work, u32 block, Shared shared) {
    Rule rule = rule_arrays(shared);
    Grids grids = grid_arrays(shared);
    u32* ends = shared.array<u32>(STATES);
    draw_rule_of(work, block, 0, rule);
    draw_start(work.tables, work.key, work.candidates[block], ends, grids.now);
    Token* patches = work.patches + (u64)block * SCORED_FRAMES * PATCHES;
    for (u32 frame = 0; frame < SCORED_FRAMES; frame++) {
        run_to(work, block, frame, rule, grids);
        write_patches(grids.now, patches + frame * PATCHES);
    }
    EACH(lane) {
        for (u32 cell = lane; cell < CELLS; cell += TEAM) work.last[(u64)block * CELLS + cell] = grids.now[cell];
    }
}

FUNCTION void score_block(const Work& work, u32 block, Shared shared) {
    Row row = row_arrays(shared);
    i32* counts = shared.array<i32>(SYMBOLS);
    i32* sums = shared.array<i32>(2);
    u32* is_hidden = shared.array<u32>(1);
    Shared again = shared;  // the trees take the place of the matches
    row.matches = shared.array<u32>(4 * (SCORED + 1));
    read_row(work.patches + (u64)block * SCORED, row);
    find_matches(row);
    parse(row, is_hidden);
    count_symbols(row, counts);
    add_simple_bits(counts, sums);
    bool is_bounded = (i64)stored_or(sums[1]) < (i64)work.at_least;  // with the fixed code: before any tree is built
    if (!*is_hidden && !is_bounded) {
        Trees trees = trees_arrays(again);
        count_dynamic_bits(counts, trees);
        EACH(lane) {
            if (lane == 0) {
                i32 dynamic = stored_or(sums[0] + trees.bits[0]), fixed = stored_or(sums[1]);
                work.scores[block] = dynamic < fixed ? dynamic : fixed;
            }
        }
    } else {
        EACH(lane) {
            if (lane == 0) work.scores[block] = *is_hidden ? UNKNOWN : 0;
        }
    }
}

FUNCTION void rows_block(const Work& work, u32 block, Shared shared) {
    Rule rule = rule_arrays(shared);
    Grids grids = grid_arrays(shared);
    u32 candidate = work.chosen[block];
    Token* row = work.rows + (u64)block * work.frames * (PATCHES + 2);
    const Token* patches = work.patches + (u64)candidate * SCORED_FRAMES * PATCHES;
    EACH(lane) {
        for (u32 i = lane; i < SCORED_FRAMES * PATCHES; i += TEAM)
            row[i / PATCHES * (PATCHES + 2) + 1 + i % PATCHES] = patches[i];
        for (u32 frame = lane; frame < work.frames; frame += TEAM) {
            row[(u64)frame * (PATCHES + 2)] = START_OF_GRID;
            row[(u64)frame * (PATCHES + 2) + PATCHES + 1] = START_OF_GRID + 1;
        }
        for (u32 cell = lane; cell < CELLS; cell += TEAM) grids.now[cell] = work.last[(u64)candidate * CELLS + cell];
    }
    SYNC();
    draw_rule_of(work, candidate, SCORED_FRAMES, rule);
    for (u64 frame = SCORED_FRAMES; frame < work.frames; frame++) {
        run_to(work, candidate, frame, rule, grids);
        write_patches(grids.now, row + frame * (PATCHES + 2) + 1);
    }
}

#ifdef __CUDACC__

#define KERNEL(name)                                                                                 \
    extern "C" __global__ void __launch_bounds__(TEAM, BLOCKS) name(const Work* __restrict__ work) { \
        extern __shared__ Four memory_[];                                                            \
        name##_block(*work, blockIdx.x, Shared{reinterpret_cast<u8*>(memory_)});                     \
    }

#else

template <typename Body>
static void run_blocks(const Work& work, u32 blocks, u32 order, Body body) {
    for (u32 block = 0; block < blocks; block++) {
        Memory memory;
        order_ = order + block;
        body(work, block, Shared{&memory, 0});
    }
}

// order: a number that the order of the lanes follows from.
#define KERNEL(name)                                                               \
    extern "C" void name(const Work* work, u32 blocks, u32 order) {                \
        run_blocks(*work, blocks, order, [](auto&&... a) { name##_block(a...); }); \
    }

#endif

KERNEL(rollout)
#if SCORED <= 1024
KERNEL(score)
#endif
KERNEL(rows)
