import manifest from '../../package.json' with { type: 'json' };

/** Put in by the build. */
declare const BUILD_COMMIT: string | undefined;

export const VERSION: string = manifest.version;

/** For people: `0.1.0 (1359a92c04f7)`, the version alone where the sources run without a build. */
export const VERSION_WITH_COMMIT = typeof BUILD_COMMIT === 'undefined' ? VERSION : `${VERSION} (${BUILD_COMMIT})`;
