import type { Sources } from './stage.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

/** The machine's architecture in the words of rpm and of the kernel. */
export const ARCHITECTURE = ARCHITECTURES[process.arch] ?? process.arch;

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
