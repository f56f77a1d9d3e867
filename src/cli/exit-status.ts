/** Statuses that commands end with; 0 is success. */
export const FAILED = 1;
export const BAD_USAGE = 2;
/** Nothing failed, and something could not be looked at. */
export const INCOMPLETE = 3;
