// Philox4x32-10, as `ncagen/philox.py` defines it.

struct Key {
    u32 seed, stream;
};

// The 128 bits of a block, as the 16-bit words of each number from the low half on.
struct Block {
    u32 a, b, c, d;
};

FUNCTION Block philox(Key key, u32 purpose, u64 number, u32 block) {
    u32 c0 = block, c1 = purpose, c2 = (u32)number, c3 = (u32)(number >> 32), k0 = key.seed, k1 = key.stream;
#pragma unroll
    for (int round = 0; round < 10; round++) {
        u32 left = high_half(0xD2511F53u, c0), left_low = 0xD2511F53u * c0;
        u32 right = high_half(0xCD9E8D57u, c2), right_low = 0xCD9E8D57u * c2;
        c0 = right ^ c1 ^ k0;
        c1 = right_low;
        c2 = left ^ c3 ^ k1;
        c3 = left_low;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {c0, c1, c2, c3};
}

// Four neighbouring words of a purpose: those from 4 * quad on.
struct Quad {
    u32 w[4];
};

FUNCTION Quad four_words(Key key, u32 purpose, u64 number, u32 quad) {
    Block bits = philox(key, purpose, number, quad >> 1);
    u32 first = quad & 1 ? bits.c : bits.a, second = quad & 1 ? bits.d : bits.b;
    return {{first & 0xFFFF, first >> 16, second & 0xFFFF, second >> 16}};
}
