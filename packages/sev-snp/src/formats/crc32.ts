/** The CRC-32 of bytes: polynomial 0xEDB88320, reflected (IEEE 802.3). `from` continues the CRC of bytes before. O(n). */
export function crc32(bytes: Uint8Array, from = 0): number {
  let crc = ~from;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (-(crc & 1) & 0xedb8_8320);
  }
  return ~crc >>> 0;
}
