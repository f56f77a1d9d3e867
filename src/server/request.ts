import type { SettingName } from '../format/settings.ts';

/** What the command line asked for; everything is optional, and what is given goes before the option files. */
export interface DoctorRequest {
  /** The first argument of my_print_defaults, such as `--defaults-file=/etc/my.cnf`. */
  readonly defaults: string | undefined;
  /** Groups to read beside the server's own. */
  readonly groups: readonly string[];
  readonly datadir: string | undefined;
  readonly pluginDir: string | undefined;
  /** Whom the server runs as. */
  readonly user: string | undefined;
  readonly variables: Readonly<Partial<Record<SettingName, string>>>;
  readonly stsEndpointUrl: string;
  /** Unwrap every stored key version. */
  readonly deep: boolean;
}
