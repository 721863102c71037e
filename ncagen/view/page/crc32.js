// CRC-32, to compare rows computed here with the stored ones.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** CRC-32 of tokens as little-endian 32-bit words. */
export function crc32(tokens) {
  let crc = -1;
  for (const token of tokens) {
    for (let shift = 0; shift < 32; shift += 8) crc = (crc >>> 8) ^ TABLE[(crc ^ (token >>> shift)) & 255];
  }
  return ~crc >>> 0;
}
