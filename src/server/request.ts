import type { SettingName } from '../format/settings.ts';

/** The options of the command line. All are optional, and override the option files. */
export interface DoctorRequest {
  /** The first argument of my_print_defaults, such as `--defaults-file=/etc/my.cnf`. */
  readonly defaults: string | undefined;
  /** Groups to read besides the server's own. */
  readonly groups: readonly string[];
  readonly datadir: string | undefined;
  readonly pluginDir: string | undefined;
  /** The user that the server runs as. */
  readonly user: string | undefined;
  readonly variables: Readonly<Partial<Record<SettingName, string>>>;
  readonly stsEndpointUrl: string;
  /** True: unwrap every stored key version. */
  readonly deep: boolean;
}
