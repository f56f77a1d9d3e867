// SPDX-License-Identifier: GPL-2.0-only
#include "server/sysvars.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "client/settings.h"
#include "client/target.h"
#include "server/backup.h"
#include "server/keyfiles.h"
#include "server/server.h"

#define PREFIX "aws_key_management_"

/* Storage that the server writes. */
static char *master_key_id, *key_ids, *region, *endpoint_url, *keyfile_dir, *agent_path, *encryption_context,
  *failover_regions;
static unsigned long key_spec, log_level, encryption_algorithm;
static unsigned int request_timeout, start_timeout, watch_interval;
static long long rotate_key;
static char mock, allow_missing_keys, sealed_key_cache, kept_contexts;

/* The values that master_key_id and key_ids point at while the plugin runs. */
static char master_key_id_value[MASTER_KEY_ID_MAX + 1];
static char key_ids_value[KEY_IDS_MAX + 1];

static char target[TARGET_SIZE];
static struct client *attached;
static const char *no_ctr;              /* as in struct client_config */

#define KEY_SPECS 2
static const char *key_specs[KEY_SPECS + 1]= {"AES_128", "AES_256", NULL};
#define ALGORITHMS 2
#define ALGORITHM_CTR 1
static const char *algorithms[ALGORITHMS + 1]= {"AES_CBC", "AES_CTR", NULL};
static const char *log_levels[]= {"Off", "Fatal", "Error", "Warn", "Info", "Debug", "Trace", NULL};

/* Later servers may read more members of a TYPELIB than the header that we are built with has; they find zeroes. */
static struct
{
  TYPELIB names;
  void *spare[4];
} key_spec_type= {.names= {.count= KEY_SPECS, .name= "", .type_names= key_specs}},
  algorithm_type= {.names= {.count= ALGORITHMS, .name= "", .type_names= algorithms}},
  log_level_type= {.names= {.count= 7, .name= "", .type_names= log_levels}};

static const char *text_or_empty(const char *text)
{
  return text ? text : "";
}

static bool set(enum setting setting, const char *value)
{
  return !attached || client_set(attached, setting, value);
}

static void set_later(enum setting setting, const char *value)
{
  if (!set(setting, value))
    server_logf(SERVER_ERROR, PREFIX "%s: out of memory, the agent keeps the old value", setting_name(setting));
}

static void warn_of_missed_change(MYSQL_THD thd, enum setting setting)
{
  if (rotation_missed_change(thd))
    server_logf(SERVER_WARNING, PREFIX "%s: the rotation in the same statement did not use the new value",
                setting_name(setting));
}

/* Checks a text and puts a copy, in the statement's memory, into *save. Returns 1 after it failed the statement. */
static int check_text(MYSQL_THD thd, void *save, struct st_mysql_value *value, enum setting setting)
{
  char space[512], why[160];
  int size= (int) sizeof space;
  const char *text= value->val_str(value, space, &size);
  const char *name= setting_name(setting);
  if (!text || size < 0)
  {
    server_sql_error(PREFIX "%s: expected a string, got NULL", name);
    return 1;
  }
  if (!setting_check(setting, text, (size_t) size, why, sizeof why))
  {
    server_sql_error(PREFIX "%s: %s", name, why);
    return 1;
  }
  char *copy= thd_strmake ? thd_strmake(thd, text, (size_t) size) : NULL;
  if (!copy)
  {
    server_sql_error(PREFIX "%s: out of memory", name);
    return 1;
  }
  *(char **) save= copy;
  rotation_note_change(thd);
  return 0;
}

static int check_master_key_id(MYSQL_THD thd, struct st_mysql_sys_var *var, void *save, struct st_mysql_value *value)
{
  (void) var;
  return check_text(thd, save, value, SETTING_MASTER_KEY_ID);
}

static int check_key_ids(MYSQL_THD thd, struct st_mysql_sys_var *var, void *save, struct st_mysql_value *value)
{
  (void) var;
  return check_text(thd, save, value, SETTING_KEY_IDS);
}

/*
  Returns the index of a name in any case, or of its number, as the server's own check of an enumeration does; -1: neither.
  Without an error of ours the server says which value the variable cannot be set to.
*/
static long read_choice(struct st_mysql_value *value, const char *const *names, long count)
{
  char space[64];
  int size= (int) sizeof space;
  long long choice= -1;
  if (value->value_type(value) == MYSQL_VALUE_TYPE_STRING)
  {
    const char *text= value->val_str(value, space, &size);
    choice= text && size >= 0 ? setting_choice(names, text, (size_t) size) : -1;
  }
  else if (value->val_int(value, &choice))
    choice= -1;
  return choice < 0 || choice >= count ? -1 : (long) choice;
}

static int take_choice(MYSQL_THD thd, void *save, long choice)
{
  if (choice < 0)
    return 1;
  *(long *) save= choice;
  rotation_note_change(thd);
  return 0;
}

static int check_key_spec(MYSQL_THD thd, struct st_mysql_sys_var *var, void *save, struct st_mysql_value *value)
{
  (void) var;
  return take_choice(thd, save, read_choice(value, key_specs, KEY_SPECS));
}

static int check_encryption_algorithm(MYSQL_THD thd, struct st_mysql_sys_var *var, void *save,
                                      struct st_mysql_value *value)
{
  long choice= read_choice(value, algorithms, ALGORITHMS);
  (void) var;
  if (choice == ALGORITHM_CTR && no_ctr)
  {
    server_sql_error(PREFIX "encryption_algorithm: AES_CTR cannot be used: %s", no_ctr);
    return 1;
  }
  return take_choice(thd, save, choice);
}

static void update_master_key_id(MYSQL_THD thd, struct st_mysql_sys_var *var, void *to, const void *save)
{
  (void) var;
  warn_of_missed_change(thd, SETTING_MASTER_KEY_ID);
  snprintf(master_key_id_value, sizeof master_key_id_value, "%s", text_or_empty(*(char *const *) save));
  *(char **) to= master_key_id_value;
  set_later(SETTING_MASTER_KEY_ID, master_key_id_value);
}

static void update_key_ids(MYSQL_THD thd, struct st_mysql_sys_var *var, void *to, const void *save)
{
  (void) thd;
  (void) var;
  snprintf(key_ids_value, sizeof key_ids_value, "%s", text_or_empty(*(char *const *) save));
  *(char **) to= key_ids_value;
  set_later(SETTING_KEY_IDS, key_ids_value);
}

static const char *enum_text(const char *const *names, size_t count, unsigned long value)
{
  return value < count ? names[value] : names[0];
}

static void update_key_spec(MYSQL_THD thd, struct st_mysql_sys_var *var, void *to, const void *save)
{
  (void) var;
  warn_of_missed_change(thd, SETTING_KEY_SPEC);
  *(unsigned long *) to= *(const unsigned long *) save;
  set_later(SETTING_KEY_SPEC, enum_text(key_specs, KEY_SPECS, *(const unsigned long *) save));
}

static void update_encryption_algorithm(MYSQL_THD thd, struct st_mysql_sys_var *var, void *to, const void *save)
{
  (void) var;
  warn_of_missed_change(thd, SETTING_ENCRYPTION_ALGORITHM);
  *(unsigned long *) to= *(const unsigned long *) save;
  set_later(SETTING_ENCRYPTION_ALGORITHM, enum_text(algorithms, ALGORITHMS, *(const unsigned long *) save));
}

static void update_log_level(MYSQL_THD thd, struct st_mysql_sys_var *var, void *to, const void *save)
{
  (void) thd;
  (void) var;
  *(unsigned long *) to= *(const unsigned long *) save;
  set_later(SETTING_LOG_LEVEL, enum_text(log_levels, 7, *(const unsigned long *) save));
}

static MYSQL_SYSVAR_STR(master_key_id, master_key_id, PLUGIN_VAR_RQCMDARG,
  "AWS KMS key id, ARN or alias/name of the master key under which new data keys are created. Empty: none are created",
  check_master_key_id, update_master_key_id, "");
static MYSQL_SYSVAR_ENUM(key_spec, key_spec, PLUGIN_VAR_RQCMDARG,
  "Length of new data keys: AES_128 or AES_256", check_key_spec, update_key_spec, 0, &key_spec_type.names);
static MYSQL_SYSVAR_ENUM(encryption_algorithm, encryption_algorithm, PLUGIN_VAR_RQCMDARG,
  "What new key versions encrypt with: AES_CBC, or AES_CTR, which is faster and which the C++ plugin cannot read. "
  "Existing versions keep theirs", check_encryption_algorithm, update_encryption_algorithm, 0, &algorithm_type.names);
static MYSQL_SYSVAR_ENUM(log_level, log_level, PLUGIN_VAR_RQCMDARG,
  "How much of the AWS calls goes to the error log: Off, Fatal, Error, Warn, Info, Debug or Trace", NULL,
  update_log_level, 0, &log_level_type.names);
static MYSQL_SYSVAR_STR(region, region, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
  "AWS region. Empty: what the AWS configuration says, then us-east-1", NULL, NULL, "");
static MYSQL_SYSVAR_STR(endpoint_url, endpoint_url, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
  "URL of another KMS endpoint (VPC, FIPS, local)", NULL, NULL, "");
static MYSQL_SYSVAR_UINT(request_timeout, request_timeout, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
  "Milliseconds for connecting to KMS and for each request. 0: 5000 for connecting, 10000 for a request", NULL, NULL, 0, 0, INT_MAX, 1);
static MYSQL_SYSVAR_LONGLONG(rotate_key, rotate_key, PLUGIN_VAR_RQCMDARG,
  "Set it to a key id to create the next version of that key, to -1 to do so for all keys. Reads back 0",
  rotation_check, rotation_update, 0, -1, UINT32_MAX, 1);
static MYSQL_SYSVAR_BOOL(mock, mock, PLUGIN_VAR_OPCMDARG | PLUGIN_VAR_READONLY,
  "No AWS: wrap keys with key material kept locally. For trials only", NULL, NULL, 0);
static MYSQL_SYSVAR_UINT(watch_interval, watch_interval, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
  "Seconds between looks whether the master keys are usable, also when nothing needs KMS. 0: never", NULL, NULL, 3600, 0,
  604800, 1);
static MYSQL_SYSVAR_STR(encryption_context, encryption_context, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
  "Pairs name=value, separated by commas, that new data keys are bound to, with their key id and version. Empty: to "
  "nothing", NULL, NULL, "");
static MYSQL_SYSVAR_STR(failover_regions, failover_regions, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
  "AWS regions, separated by commas, that hold replicas of a multi-Region master key and unwrap when the first cannot",
  NULL, NULL, "");
static MYSQL_SYSVAR_STR(keyfile_dir, keyfile_dir, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
  "Directory of the key files. Empty: the data directory", NULL, NULL, "");
static MYSQL_SYSVAR_STR(agent, agent_path, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
  "Absolute path of the agent executable, or unix: and the absolute path of a socket it listens on. Empty: "
  "aws_key_management_agent beside the plugin library", NULL, NULL, "");
static MYSQL_SYSVAR_STR(key_ids, key_ids, PLUGIN_VAR_RQCMDARG,
  "Key ids that may be created, such as 1-2,100-199, without a limit to their number. Empty: any, within limits", check_key_ids, update_key_ids, "");
static MYSQL_SYSVAR_UINT(start_timeout, start_timeout, PLUGIN_VAR_RQCMDARG | PLUGIN_VAR_READONLY,
  "Seconds that the plugin waits for KMS when it is initialised", NULL, NULL, 60, 1, 3600, 1);
static MYSQL_SYSVAR_BOOL(allow_missing_keys, allow_missing_keys, PLUGIN_VAR_OPCMDARG | PLUGIN_VAR_READONLY,
  "Start although some stored key version cannot be unwrapped, and go on trying. Its tables read as corrupted until the key "
  "has loaded and the server was restarted", NULL, NULL, 0);
static MYSQL_SYSVAR_BOOL(sealed_key_cache, sealed_key_cache, PLUGIN_VAR_OPCMDARG | PLUGIN_VAR_READONLY,
  "Keep all data keys in one encrypted file too, which the next start opens with one call of KMS", NULL, NULL, 0);
static MYSQL_SYSVAR_BOOL(kept_contexts, kept_contexts, PLUGIN_VAR_OPCMDARG | PLUGIN_VAR_READONLY,
  "Encrypt with OpenSSL contexts that are kept and used again. OFF: the server makes one for each encryption", NULL, NULL, 1);

struct st_mysql_sys_var *sysvars[]= {
  MYSQL_SYSVAR(master_key_id),
  MYSQL_SYSVAR(key_spec),
  MYSQL_SYSVAR(encryption_algorithm),
  MYSQL_SYSVAR(log_level),
  MYSQL_SYSVAR(region),
  MYSQL_SYSVAR(endpoint_url),
  MYSQL_SYSVAR(request_timeout),
  MYSQL_SYSVAR(rotate_key),
  MYSQL_SYSVAR(mock),
  MYSQL_SYSVAR(keyfile_dir),
  MYSQL_SYSVAR(watch_interval),
  MYSQL_SYSVAR(encryption_context),
  MYSQL_SYSVAR(failover_regions),
  MYSQL_SYSVAR(agent),
  MYSQL_SYSVAR(key_ids),
  MYSQL_SYSVAR(start_timeout),
  MYSQL_SYSVAR(allow_missing_keys),
  MYSQL_SYSVAR(sealed_key_cache),
  MYSQL_SYSVAR(kept_contexts),
  NULL
};

static bool check_at_start(enum setting setting, const char *value)
{
  char why[160];
  if (setting_check(setting, text_or_empty(value), strlen(text_or_empty(value)), why, sizeof why))
    return true;
  server_logf(SERVER_ERROR, PREFIX "%s: %s", setting_name(setting), why);
  return false;
}

static bool choose_target(void)
{
  char why[256];
  if (target_choose(text_or_empty(agent_path), sysvars, target, why, sizeof why))
    return true;
  server_log(SERVER_ERROR, why);
  return false;
}

bool sysvars_keep_contexts(void)
{
  return kept_contexts != 0;
}

bool sysvars_open(struct client_config *config)
{
  if (rotate_key != 0)
  {
    server_log(SERVER_WARNING, PREFIX "rotate_key is ignored at server start");
    rotate_key= 0;
  }
  if (!check_at_start(SETTING_MASTER_KEY_ID, master_key_id) || !check_at_start(SETTING_KEY_IDS, key_ids) ||
      !check_at_start(SETTING_REGION, region) || !check_at_start(SETTING_ENDPOINT_URL, endpoint_url) ||
      !check_at_start(SETTING_KEYFILE_DIR, keyfile_dir) ||
      !check_at_start(SETTING_ENCRYPTION_CONTEXT, encryption_context) ||
      !check_at_start(SETTING_FAILOVER_REGIONS, failover_regions) || !choose_target())
    return false;
  no_ctr= config->no_ctr;
  if (encryption_algorithm == ALGORITHM_CTR && no_ctr)
  {
    server_logf(SERVER_ERROR, PREFIX "encryption_algorithm: AES_CTR cannot be used: %s", no_ctr);
    return false;
  }
  if (master_key_id != master_key_id_value)
    snprintf(master_key_id_value, sizeof master_key_id_value, "%s", text_or_empty(master_key_id));
  if (key_ids != key_ids_value)
    snprintf(key_ids_value, sizeof key_ids_value, "%s", text_or_empty(key_ids));
  config->target= target;
  config->start_timeout_ms= start_timeout * 1000;
  config->allow_missing_keys= allow_missing_keys;
  config->nobody_listens= config->role == ROLE_BACKUP && !server_makes_backup() ? BACKUP_PREPARE_ELSEWHERE : NULL;
  config->watch_interval_ms= config->role == ROLE_BACKUP ? 0 : watch_interval * 1000;
  return keyfiles_open(text_or_empty(keyfile_dir), target) && check_at_start(SETTING_KEYFILE_DIR, keyfiles_directory());
}

bool sysvars_attach(struct client *client, may_rotate_fn *may_rotate)
{
  char milliseconds[16];
  snprintf(milliseconds, sizeof milliseconds, "%u", request_timeout);
  attached= client;
  if (set(SETTING_MASTER_KEY_ID, master_key_id_value) && set(SETTING_KEY_IDS, key_ids_value) &&
      set(SETTING_KEY_SPEC, enum_text(key_specs, KEY_SPECS, key_spec)) &&
      set(SETTING_LOG_LEVEL, enum_text(log_levels, 7, log_level)) && set(SETTING_REGION, text_or_empty(region)) &&
      set(SETTING_ENDPOINT_URL, text_or_empty(endpoint_url)) && set(SETTING_REQUEST_TIMEOUT, milliseconds) &&
      set(SETTING_MOCK, mock ? "ON" : "OFF") && set(SETTING_KEYFILE_DIR, keyfiles_directory()) &&
      set(SETTING_ALLOW_MISSING_KEYS, allow_missing_keys ? "ON" : "OFF") &&
      set(SETTING_ENCRYPTION_CONTEXT, text_or_empty(encryption_context)) &&
      set(SETTING_FAILOVER_REGIONS, text_or_empty(failover_regions)) &&
      set(SETTING_ENCRYPTION_ALGORITHM, enum_text(algorithms, ALGORITHMS, encryption_algorithm)) &&
      set(SETTING_SEALED_KEY_CACHE, sealed_key_cache ? "ON" : "OFF"))
  {
    master_key_id= master_key_id_value;
    key_ids= key_ids_value;
    rotation_attach(client, may_rotate);
    return true;
  }
  attached= NULL;
  server_log(SERVER_ERROR, "out of memory");
  return false;
}

void sysvars_close(void)
{
  rotation_attach(NULL, NULL);
  attached= NULL;
}
