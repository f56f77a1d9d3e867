/** `arn:partition:kms:region:account:key/mrk-…`: a multi-Region key has the same id and account in every Region. */
const MULTI_REGION_ARN = /^(arn:[\w-]+:kms:)[\w-]+(:\d{12}:key\/mrk-[0-9a-f]+)$/;

/** The same master key as it is named in another Region. Only a multi-Region key is there; others keep their ARN. */
export function masterKeyInRegion(arn: string, region: string): string {
  return arn.replace(MULTI_REGION_ARN, `$1${region}$2`);
}

/** Whether two ARNs name one master key; replicas of a multi-Region key are one. */
export function isSameMasterKey(a: string, b: string): boolean {
  return masterKeyInRegion(a, '') === masterKeyInRegion(b, '');
}

export function isMultiRegion(arn: string): boolean {
  return MULTI_REGION_ARN.test(arn);
}

/** The Region that a key ARN names; empty when it is none. */
export function regionOf(arn: string): string {
  return arn.split(':', 4)[3] ?? '';
}
