// SPDX-License-Identifier: GPL-2.0-only
/*
  The MariaDB encryption plugin aws_key_management: keys that AWS KMS protects. This file knows the server and nothing of
  AWS, which is left to the agent, another process (client/client.h).
*/
#include <mysql/plugin_encryption.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "client/reasons.h"
#include "data/datadir.h"
#include "keys/keytable.h"
#include "server/backup.h"
#include "server/datatext.h"
#include "server/encryption.h"
#include "server/keyfiles.h"
#include "server/server.h"
#include "server/status.h"
#include "server/sysvars.h"

static struct keytable table;
/* A thread that hangs in the operating system still holds the table. Its keys are as good as ever. */
static bool table_is_kept;
static struct client *client;
static struct locations locations;
static atomic_bool nothing_is_lost;

/*
  Key 2 is for temporary data; where there is none the server takes key 1, so that its question for key 2 fails no
  statement.
*/
#define KEY_OF_TEMPORARY 2u

/*
  Tells the statement why it gets no key, once for each key: the server itself only says "Wrong create options", or that a
  table is corrupted.
*/
static unsigned int warn_of(unsigned int id, unsigned int version)
{
  static _Thread_local struct
  {
    long long statement;
    unsigned int id, version;
  } told;
  char text[FAILURE_TEXT_MAX], subject[48];
  struct failure failure;
  long long statement= server_current_statement_id();
  if (id == KEY_OF_TEMPORARY && version == 0)
    return ENCRYPTION_KEY_VERSION_INVALID;
  if (!statement || (told.statement == statement && told.id == id && told.version == version))
    return ENCRYPTION_KEY_VERSION_INVALID;
  told.statement= statement;
  told.id= id;
  told.version= version;
  snprintf(subject, sizeof subject, version ? "key %u version %u" : "key %u", id, version);
  if (!client_reason(client, id, version, &failure))
    server_sql_warning("%s is not available; the error log says why", subject);
  /* The text of a refusal names variables only. */
  else if (!server_may_read_failures() && strcmp(failure.code, "KEY_NOT_ALLOWED") != 0)
    server_sql_warning("%s is not available: %s; the error log says more", subject, reason_for_everybody(&failure));
  else
  {
    failure_text(&failure, text, sizeof text);
    bool names_key= strncmp(text, "key ", 4) == 0;
    server_sql_warning("%s%s%s", names_key ? "" : subject, names_key ? "" : ": ", text);
  }
  return ENCRYPTION_KEY_VERSION_INVALID;
}

/* A function of its own, as fetch_key() is, so that the server's calls for loaded keys need no stack frame. */
static __attribute__((noinline)) unsigned int open_key(unsigned int id)
{
  if (id == 0 || !client)
    return ENCRYPTION_KEY_VERSION_INVALID;
  if (!client_open(client, id))
    return warn_of(id, 0);
  uint32_t version= keytable_latest(&table, id);
  return version != KEY_VERSION_NONE ? version : ENCRYPTION_KEY_VERSION_INVALID;
}

static unsigned int get_latest_key_version(unsigned int id)
{
  uint32_t version= keytable_latest(&table, id);
  return __builtin_expect(version != KEY_VERSION_NONE, 1) ? version : open_key(id);
}

/* With key NULL, *length may hold anything (encryption_key_version_exists() passes it uninitialised). */
static inline unsigned int get_loaded_key(unsigned int id, unsigned int version, unsigned char *key, unsigned int *length)
{
  size_t size, capacity= key ? *length : 0;
  enum keytable_get got= keytable_get(&table, id, version, key, capacity, &size);
  if (__builtin_expect(got == KEYTABLE_ABSENT, 0))
    return ENCRYPTION_KEY_VERSION_INVALID;
  *length= (unsigned int) size;
  return got == KEYTABLE_FOUND ? 0 : ENCRYPTION_KEY_BUFFER_TOO_SMALL;
}

static __attribute__((noinline)) unsigned int fetch_key(unsigned int id, unsigned int version, unsigned char *key,
                                                        unsigned int *length)
{
  if (id == 0 || version == KEY_VERSION_NONE || version > KEY_VERSION_MAX || !client)
    return ENCRYPTION_KEY_VERSION_INVALID;
  if (!client_fetch(client, id, version))
    return warn_of(id, version);
  return get_loaded_key(id, version, key, length);
}

static unsigned int get_key(unsigned int id, unsigned int version, unsigned char *key, unsigned int *length)
{
  unsigned int result= get_loaded_key(id, version, key, length);
  return __builtin_expect(result != ENCRYPTION_KEY_VERSION_INVALID, 1) ? result : fetch_key(id, version, key, length);
}

/* The functions that encrypt are set by encryption_open(). */
static struct st_mariadb_encryption descriptor= {
  .interface_version= MariaDB_ENCRYPTION_INTERFACE_VERSION,
  .get_latest_key_version= get_latest_key_version,
  .get_key= get_key,
};

static void log_agent(enum severity severity, const char *text)
{
  server_log((enum server_severity) severity, text);
}

static void free_table(void)
{
  if (!table_is_kept)
    keytable_destroy(&table);
}

static int deinit(void *unused)
{
  (void) unused;
  status_attach(NULL, NULL);
  sysvars_close();
  encryption_close();
  if (client_destroy(client))
    free_table();
  else
  {
    table_is_kept= true;
    server_log(SERVER_WARNING, "a thread of the plugin hangs in the operating system; it and its memory are left behind");
  }
  client= NULL;
  return 0;
}

static bool has_key(void *unused, uint32_t id, uint32_t version)
{
  (void) unused;
  return version ? keytable_has(&table, id, version) : keytable_latest(&table, id) != KEY_VERSION_NONE;
}

static bool has_any(void *unused, uint32_t id, uint32_t version)
{
  (void) unused;
  (void) id;
  (void) version;
  return true;
}

/* Reads the locations at the start: option files that change later are not those that the server was started with. */
static void read_locations(void)
{
  int count;
  char **arguments;
  const char *why= server_arguments(&count, &arguments);
  if (why)
  {
    locations_unknown(&locations, why);
    return;
  }
  locations_read(&locations, (size_t) count, (const char *const *) arguments);
  server_free_arguments(arguments);
}

/*
  Returns false, with the error logged, if data is encrypted with a key that is missing. A Galera state transfer replaces
  the data and may leave the key files behind, and without any key nothing encrypted can be ours: then every table is
  searched, otherwise a sample, to keep starts short. Keys that may be missing have been named already.
*/
static bool data_has_its_keys(bool may_be_missing)
{
  const struct datadir_keys keys= {
    .has= may_be_missing ? has_any : has_key, .table= &table, .aes= encryption_aes(),
  };
  bool has_none= atomic_load(&table.id_count) == 0;
  struct datadir_use use;
  char text[DATATEXT_MAX];
  if ((has_none && may_be_missing) ||
      !datadir_find_unreadable(&locations, has_none || server_is_galera_node() ? DATADIR_WHOLE : DATADIR_SAMPLE, &keys, &use))
    return true;
  datatext_of_start(text, &use, keyfiles_text(), may_be_missing);
  server_log(use.is_other_key && may_be_missing ? SERVER_WARNING : SERVER_ERROR, text);
  return may_be_missing;
}

static bool is_other(void *id, uint32_t used, uint32_t version)
{
  (void) version;
  return used != *(const uint32_t *) id;
}

/*
  Searches the data for uses of the id, although other keys are loaded: one key file among others may be gone, too, and
  InnoDB asks for the latest version of whatever id a table names.
*/
static bool may_create(uint32_t id, const struct interrupt *interrupt, struct failure *why)
{
  const struct datadir_keys keys= {
    .has= is_other, .context= &id, .is_unwanted= interrupt->is_wanted, .argument= interrupt->argument,
  };
  struct datadir_use use;
  bool found= datadir_find_unreadable(&locations, DATADIR_WHOLE, &keys, &use);
  if (found || use.is_unsure)
    datatext_of_creation(why, id, &use, found, keyfiles_text());
  return !found && !use.is_unsure;
}

struct rotation
{
  uint32_t id;                          /* 0: all */
  const struct interrupt *interrupt;
  bool is_interrupted;
  bool is_partial;                      /* something forbids another rotation than this one, or may do so later */
};

/*
  Returns whether a version that data uses is known: loaded, or at least stored. No version of an id that is not loaded is
  known, unless some stored versions are not loaded.
*/
static bool has_for_rotation(void *context, uint32_t id, uint32_t version)
{
  struct rotation *rotation= context;
  struct client_status status;
  if (version == KEY_VERSION_NONE || version <= keytable_latest(&table, id) || keytable_has(&table, id, version))
    return true;
  bool is_unknown= keytable_latest(&table, id) == KEY_VERSION_NONE, is_other= rotation->id && id != rotation->id;
  if (is_unknown)
    client_get_status(client, &status);
  if (!is_other && !(is_unknown && status.versions_missing == 0) && !keyfiles_have(id, version))
    return false;
  rotation->is_partial= true;
  return true;
}

static bool is_unwanted(void *context)
{
  struct rotation *rotation= context;
  if (!rotation->is_interrupted)
    rotation->is_interrupted= rotation->interrupt->is_wanted(rotation->interrupt->argument);
  return rotation->is_interrupted;
}

/*
  Returns whether the id may be rotated. An older state of the key files may have been put back before the start: the number
  of the next version is then that of a lost one, which data is encrypted with. Losses after the start are noticed by the
  agent, which knows the versions that the server holds: one whole search that finds nothing missing is enough.
*/
static bool may_rotate(uint32_t id, const struct interrupt *interrupt, struct failure *why)
{
  struct rotation rotation= {.id= id, .interrupt= interrupt};
  const struct datadir_keys keys= {
    .has= has_for_rotation, .context= &rotation, .table= &table, .versions_on_pages= true,
    .is_unwanted= is_unwanted, .argument= &rotation,
  };
  struct datadir_use use;
  if (atomic_load(&nothing_is_lost))
    return true;
  bool found= datadir_find_unreadable(&locations, DATADIR_WHOLE, &keys, &use);
  if (rotation.is_interrupted)
    snprintf(why->message, sizeof why->message, "interrupted; no key was rotated");
  else if (found || use.is_unsure)
    datatext_of_rotation(why, id, &use, found, keyfiles_text());
  else if (!rotation.is_partial)
    atomic_store(&nothing_is_lost, true);
  return !rotation.is_interrupted && !found && !use.is_unsure;
}

static bool is_killed(void *session)
{
  return server_is_killed(session);
}

static struct caller caller(void)
{
  const MYSQL_THD session= server_session();
  const unsigned seconds= server_slave_net_timeout(), most= UINT32_MAX / 1000;
  return (struct caller) {
    .kind= server_is_applier(session) ? CALLER_APPLIER : server_has_started() ? CALLER_STATEMENT : CALLER_STARTS,
    .patience_ms= (seconds < most ? seconds : most) * 1000,
    .interrupt= {.is_wanted= is_killed, .argument= session},
  };
}

static bool start(void)
{
  struct failure failure;
  struct client_config config= {
    .role= server_is_backup() ? ROLE_BACKUP : ROLE_SERVER, .table= &table, .log= log_agent, 
    .no_ctr= encryption_open(&descriptor, &table, sysvars_keep_contexts()),
    .may_create= may_create, .caller= caller,
  };
  if (!sysvars_open(&config))
    return false;
  if (!table_is_kept && !keytable_init(&table))
  {
    server_log(SERVER_ERROR, "out of memory");
    return false;
  }
  if (server_is_backup() && !server_makes_backup())
    backup_note_agent(config.target);
  atomic_store(&nothing_is_lost, false);
  if (config.role == ROLE_SERVER)
    read_locations();
  client= client_create(&config, &failure);
  if (client && !sysvars_attach(client, may_rotate))
    return false;
  if (client && client_start(client, &failure))
  {
    if (server_makes_backup())
      backup_warn_of_missing_keys(config.target);
    return config.role == ROLE_BACKUP || data_has_its_keys(config.allow_missing_keys);
  }
  char text[FAILURE_TEXT_MAX];
  failure_text(&failure, text, sizeof text);
  server_log(SERVER_ERROR, text);
  if (server_may_read_failures())
    server_sql_warning("%s", text);
  return false;
}

static int init(void *unused)
{
  if (!start())
  {
    deinit(unused);
    return 1;
  }
  status_attach(client, &table);
  return 0;
}

#pragma GCC visibility push(default)
maria_declare_plugin(aws_key_management)
{
  MariaDB_ENCRYPTION_PLUGIN,
  &descriptor,
  "aws_key_management",
  "mariadb-aws-kms",
  "AWS KMS key management (mariadb-aws-kms " RELEASE ")",
  PLUGIN_LICENSE_GPL,
  init,
  deinit,
  RELEASE_MAJOR << 8 | RELEASE_MINOR,
  status_variables,
  sysvars,
  RELEASE,
  MariaDB_PLUGIN_MATURITY_STABLE
}
maria_declare_plugin_end;
#pragma GCC visibility pop
