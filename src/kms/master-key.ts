/** `arn:partition:kms:region:account:key/mrk-…`: a multi-Region key has the same id and account in every Region. */
const MULTI_REGION_ARN = /^(arn:[\w-]+:kms:)[\w-]+(:\d{12}:key\/mrk-[0-9a-f]+)$/;

/**
 * Returns the ARN of the same master key in another Region. Only multi-Region keys have one; other keys keep their ARN.
 */
export function masterKeyInRegion(arn: string, region: string): string {
  return arn.replace(MULTI_REGION_ARN, `$1${region}$2`);
}

/** Tells whether two ARNs name one master key. Replicas of a multi-Region key count as one. */
export function isSameMasterKey(a: string, b: string): boolean {
  return a === b || masterKeyInRegion(a, '') === masterKeyInRegion(b, '');
}

export function isMultiRegion(arn: string): boolean {
  return MULTI_REGION_ARN.test(arn);
}

/** Returns the Region of a key ARN; empty for other text. */
export function regionOf(arn: string): string {
  return arn.split(':', 4)[3] ?? '';
}
