/** Statuses that commands end with; 0 is success. */
export const FAILED = 1;
export const BAD_USAGE = 2;
/** Nothing failed, and something could not be looked at. */
export const INCOMPLETE = 3;
/** The work was done, and a report of it was not written. */
export const NOT_WRITTEN = 4;
