// Random numbers of the what-if, the same as those of simulator/randomness.py: SplitMix64 and what is made of its bits.
//
// JavaScript has no integers of 64 bits but BigInt, which is slow. So each number is two halves of 32 bits.

const TWO_32 = 2 ** 32;
const GAP = { high: 0x9e3779b9, low: 0x7f4a7c15 };
const FIRST_FACTOR = { high: 0xbf58476d, low: 0x1ce4e5b9 };
const SECOND_FACTOR = { high: 0x94d049bb, low: 0x133111eb };

/** Returns the upper 32 bits of the product of two unsigned numbers of 32 bits. */
function upperProduct(one, other) {
  const oneHigh = one >>> 16, oneLow = one & 0xffff;
  const otherHigh = other >>> 16, otherLow = other & 0xffff;
  const middle = oneLow * otherHigh + oneHigh * otherLow + ((oneLow * otherLow) >>> 16);
  return oneHigh * otherHigh + Math.floor(middle / 65536);
}

/** Draws 64 random bits at a time: `high` and `low`, each unsigned. */
export class SplitMix {
  constructor(seed) {
    this.stateHigh = Math.floor(seed / TWO_32) >>> 0;
    this.stateLow = seed >>> 0;
    this.high = 0;
    this.low = 0;
  }

  next() {
    const sum = this.stateLow + GAP.low;
    this.stateLow = sum >>> 0;
    this.stateHigh = (this.stateHigh + GAP.high + (sum >= TWO_32 ? 1 : 0)) >>> 0;
    this.high = this.stateHigh;
    this.low = this.stateLow;
    this.shiftAndMix(30);
    this.multiply(FIRST_FACTOR);
    this.shiftAndMix(27);
    this.multiply(SECOND_FACTOR);
    this.shiftAndMix(31);
    this.high >>>= 0;
    this.low >>>= 0;
  }

  /** x ^= x >> bits, for less than 32 bits. */
  shiftAndMix(bits) {
    this.low ^= (this.low >>> bits) | (this.high << (32 - bits));
    this.high ^= this.high >>> bits;
  }

  multiply({ high, low }) {
    const own = this.low >>> 0;
    this.high = (upperProduct(own, low) + Math.imul(this.high, low) + Math.imul(own, high)) | 0;
    this.low = Math.imul(own, low);
  }

  /** Draws a number in [0, 1) with 53 bits. */
  unit() {
    this.next();
    return (this.high * 2 ** 21 + (this.low >>> 11)) * 2 ** -53;
  }

  /** Draws a number from 0 to count - 1; count: less than 2^21. */
  below(count) {
    this.next();
    return Math.floor((this.high * count) / TWO_32);
  }

  /** A second number from 0 to count - 1, from the lower half of the bits that were drawn last. */
  alsoBelow(count) {
    return Math.floor((this.low * count) / TWO_32);
  }

  /** A number in [0, 1) from the lower half of the bits that were drawn last. */
  alsoUnit() {
    return this.low / TWO_32;
  }
}
