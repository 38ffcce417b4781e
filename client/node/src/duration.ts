/** google.protobuf.Duration to milliseconds and back, fractions of one included. */

import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";

/** What a Duration can hold, in milliseconds: ten thousand years. */
export const DURATION_MAX = 315_576_000_000_000;

/** Returns milliseconds; 0 for a duration that is not set. */
export function toMilliseconds(duration: Duration | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1e3 + duration.nanos / 1e6;
}

/** Converts milliseconds from 0 to `DURATION_MAX`. What is above 0 stays so, even if it is less than a nanosecond. */
export function fromMilliseconds(milliseconds: number): Duration {
  const seconds = Math.trunc(milliseconds / 1e3);
  const nanos = Math.trunc((milliseconds - seconds * 1e3) * 1e6);
  return create(DurationSchema, {
    seconds: BigInt(seconds),
    nanos: seconds === 0 && milliseconds > 0 ? Math.max(nanos, 1) : nanos,
  });
}
