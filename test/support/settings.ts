import { helloSettings } from '../../harness/hello-settings.ts';
import { parseSettings, type Settings } from '../../src/keyring/settings.ts';

/** Settings of a server that sets nothing but its master key, with its keys in /keys. */
export const TEST_SETTINGS: Settings = parseSettings(helloSettings({ master_key_id: 'alias/a' }));
