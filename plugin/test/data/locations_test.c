// SPDX-License-Identifier: GPL-2.0-only
#include "data/locations.h"

#include <string.h>

#include "test/test.h"

static struct locations locations;

static bool is(enum location which, const char *path)
{
  return strcmp(locations.paths[which], path) == 0;
}

static void without_options_all_is_in_the_data_directory(void)
{
  const char *const arguments[]= {"mariadbd", "--skip-networking", "--innodb-data", "innodb-data-home-dir=/x"};
  locations_read(&locations, 4, arguments);
  CHECK(is(LOCATION_DATA, ".") && is(LOCATION_SYSTEM, ".") && is(LOCATION_LOG, ".") && is(LOCATION_UNDO, "."));
  CHECK(is(LOCATION_BINLOG, "") && is(LOCATION_RELAY_INDEX, "") && strcmp(locations.system_files, "ibdata1") == 0);
  CHECK(!locations.unknown);
}

/* A mariadbd 10.11 accepted each of these with --verbose --help. */
static void names_are_taken_as_the_server_takes_them(void)
{
  static const char *const names[]= {
    "--innodb-data-home-dir=/x", "--innodb_data_home_dir=/x", "--INNODB-data-home-dir=/x", "--innodb-data-home=/x",
    "--loose-innodb_data-home-dir=/x", "--plugin-innodb-data-home-dir=/x", "--loose-plugin-innodb-data-h=/x//",
  };
  for (size_t i= 0; i < sizeof names / sizeof names[0]; i++)
  {
    const char *const arguments[]= {"mariadbd", names[i]};
    locations_read(&locations, 2, arguments);
    CHECK(is(LOCATION_SYSTEM, "/x"));
  }
}

static void last_of_two_counts(void)
{
  const char *const arguments[]= {
    "mariadbd", "----file-marker----", "/etc/my.cnf", "--innodb_log_group_home_dir=/a", "--innodb-log-group-home-dir", "/b",
    "--innodb-data-home-dir=/c", "--innodb-data-home-dir=", "--log-bin", "--log-bin-index=i", "--relay-log-info-file=/d",
  };
  locations_read(&locations, sizeof arguments / sizeof arguments[0], arguments);
  CHECK(is(LOCATION_LOG, "/b") && is(LOCATION_SYSTEM, "") && is(LOCATION_BINLOG, "") && is(LOCATION_BINLOG_INDEX, "i"));
  CHECK(is(LOCATION_RELAY, "") && is(LOCATION_RELAY_INDEX, ""));
}

static void option_without_its_value_changes_nothing(void)
{
  const char *const arguments[]= {"mariadbd", "--innodb-undo-directory"};
  locations_read(&locations, 2, arguments);
  CHECK(is(LOCATION_UNDO, "."));
}

static void path_that_is_too_long_makes_all_unknown(void)
{
  static char option[PATH_MAX + 100];
  memset(option, 'x', sizeof option - 1);
  memcpy(option, "--relay-log=/", 13);
  const char *const arguments[]= {"mariadbd", option};
  locations_read(&locations, 2, arguments);
  CHECK(locations.unknown != NULL);
}

void locations_tests(void)
{
  TEST(without_options_all_is_in_the_data_directory);
  TEST(names_are_taken_as_the_server_takes_them);
  TEST(last_of_two_counts);
  TEST(option_without_its_value_changes_nothing);
  TEST(path_that_is_too_long_makes_all_unknown);
}
