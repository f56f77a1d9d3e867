/** Statuses that commands end with; 0 is success. */
export const FAILED = 1;
export const BAD_USAGE = 2;
