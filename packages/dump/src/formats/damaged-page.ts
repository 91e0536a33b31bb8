import { isDumpError } from '../source/dump-error.ts';
import type { Notices } from '../source/notices.ts';
import type { ReadFrame } from './table-look.ts';

/** Reads frames like `read`. A damaged one does not exist, and a notice says so: the rest of the dump may be of use. */
export function withoutDamage(read: ReadFrame, notices: Notices): ReadFrame {
  return (frame, bytes) => {
    try {
      return read(frame, bytes);
    } catch (error) {
      if (!isDumpError(error, 'INVALID_FILE') && !isDumpError(error, 'TRUNCATED_FILE')) throw error;
      notices.add('damaged-page', error.details.reason);
      return false;
    }
  };
}
