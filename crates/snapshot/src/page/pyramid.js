"use strict";
// Where a series is highest or lowest within any stretch, without walking the stretch.

const FAN = 16;

/** Positions of the extremes of 16, 256, 4096... values; a query looks at about 32 per level. */
class Pyramid {
  /** `sign` is 1 for the highest, −1 for the lowest. */
  constructor(values, sign) {
    this.values = values;
    this.sign = sign;
    this.levels = [];
    let below = values.length;
    while (below > FAN) {
      const last = this.levels.at(-1);
      const level = new Int32Array(Math.ceil(below / FAN));
      for (let at = 0; at < level.length; at++) {
        const end = Math.min(below, (at + 1) * FAN);
        let best = last ? last[at * FAN] : at * FAN;
        for (let one = at * FAN + 1; one < end; one++) {
          const candidate = last ? last[one] : one;
          if (sign * values[candidate] > sign * values[best]) best = candidate;
        }
        level[at] = best;
      }
      this.levels.push(level);
      below = level.length;
    }
  }

  /** The position of the extreme from `first` to `last`, both included. */
  find(first, last) {
    const { values, sign, levels } = this;
    let best = first, from = first, to = last + 1;
    const consider = (candidate) => {
      if (sign * values[candidate] > sign * values[best]) best = candidate;
    };
    // Ragged ends at each level, whole groups one level up.
    for (let level = -1; ; level++) {
      const at = level < 0 ? (position) => position : (position) => levels[level][position];
      if (level + 1 >= levels.length || to - from <= 2 * FAN) {
        for (; from < to; from++) consider(at(from));
        return best;
      }
      for (; from % FAN; from++) consider(at(from));
      for (; to % FAN; to--) consider(at(to - 1));
      from /= FAN;
      to /= FAN;
    }
  }
}
