import { optionFileReports } from '../../server/option-file-access.ts';
import type { Check } from '../check.ts';

/**
 * Checks that the server itself reads the option files. Reading them for the doctor has already succeeded or failed.
 */
export const optionFiles: Check = {
  id: 'option-files',
  isOptional: true,
  async run({ surroundings, configuration }, signal) {
    if (configuration.unread !== undefined) return [];
    return await optionFileReports(configuration.request, configuration.account, surroundings, signal);
  },
};
