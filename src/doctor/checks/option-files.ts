import { optionFileReports } from '../../server/option-file-access.ts';
import type { Check } from '../check.ts';

/** How they were read is known before any check; this is whether the server reads them as well. */
export const optionFiles: Check = {
  id: 'option-files',
  isOptional: true,
  async run({ surroundings, configuration }, signal) {
    if (configuration.unread !== undefined) return [];
    return await optionFileReports(configuration.request, configuration.account, surroundings, signal);
  },
};
