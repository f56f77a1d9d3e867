import type { Sources } from './stage.ts';

/** Arguments of every packager. */
export interface PackageJob extends Sources {
  /** Existing directory that the package is written to. */
  readonly out: string;
  /** Version of the package: `0.1.0`, or `0.1.0~git7`, which is older. */
  readonly version: string;
  /** Commit of the sources, for readers. */
  readonly commit: string;
  /** Little compression, for trials. */
  readonly isFast: boolean;
}
