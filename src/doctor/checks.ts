import type { Check } from './check.ts';
import { activation } from './checks/activation.ts';
import { agent } from './checks/agent.ts';
import { backup } from './checks/backup.ts';
import { clock } from './checks/clock.ts';
import { confinement } from './checks/confinement.ts';
import { credentials } from './checks/credentials.ts';
import { data } from './checks/data.ts';
import { encryptionSettings } from './checks/encryption-settings.ts';
import { endpoint } from './checks/endpoint.ts';
import { keyDirectory } from './checks/key-directory.ts';
import { keyFiles } from './checks/key-files.ts';
import { lastUse } from './checks/last-use.ts';
import { masterKey } from './checks/master-key.ts';
import { optionFiles } from './checks/option-files.ts';
import { permissions } from './checks/permissions.ts';
import { pluginLibrary } from './checks/plugin-library.ts';
import { replicas } from './checks/replicas.ts';
import { serverOptions } from './checks/server-options.ts';
import { serverVersion } from './checks/server-version.ts';
import { service } from './checks/service.ts';
import { sqlFiles } from './checks/sql-files.ts';
import { startTimeout } from './checks/start-timeout.ts';
import { surplusPermissions } from './checks/surplus-permissions.ts';
import { unwrap } from './checks/unwrap.ts';

/** All checks in the order of CHECKS. */
export const ALL_CHECKS: readonly Check[] = [
  optionFiles,
  pluginLibrary,
  agent,
  serverVersion,
  serverOptions,
  activation,
  keyDirectory,
  keyFiles,
  data,
  service,
  sqlFiles,
  credentials,
  clock,
  endpoint,
  masterKey,
  replicas,
  lastUse,
  permissions,
  surplusPermissions,
  unwrap,
  confinement,
  encryptionSettings,
  backup,
  startTimeout,
];

/** Checks of what a package installs. They do not depend on the plugin's options, except for `agent`. */
export const INSTALLATION_CHECKS: readonly Check[] = [optionFiles, pluginLibrary, agent, serverVersion];
