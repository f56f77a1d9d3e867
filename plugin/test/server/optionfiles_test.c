// SPDX-License-Identifier: GPL-2.0-only
#include "server/optionfiles.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/test.h"

static char root[]= "/tmp/akm-optionfiles-XXXXXX";
static char main_file[PATH_MAX], included[PATH_MAX], directory[PATH_MAX], in_directory[PATH_MAX];

static void put(const char *path, const char *text)
{
  FILE *file= fopen(path, "we");
  CHECK(file && fputs(text, file) >= 0);
  if (file)
    fclose(file);
  CHECK(chmod(path, 0644) == 0);
}

/* Reads as another user if this one may read everything. */
static bool is_readable(void)
{
  const char *const arguments[]= {"mariadbd", "----file-marker----", main_file, "--port=1", "----file-marker----", ""};
  const char *const directories[]= {root, "", "~/", NULL};
  bool is_root= geteuid() == 0;
  if (is_root)
    CHECK(seteuid(65534) == 0);
  bool readable= optionfiles_are_readable(6, arguments, directories);
  if (is_root)
    CHECK(seteuid(0) == 0);
  return readable;
}

static void file_that_may_not_be_read_any_more_is_noticed(void)
{
  char text[2 * PATH_MAX + 64];
  snprintf(text, sizeof text, "[server]\n!include %s\n  !includedir %s  \n", included, directory);
  put(main_file, text);
  CHECK(is_readable());
  put(included, "[server]\n");
  CHECK(mkdir(directory, 0755) == 0 && chmod(directory, 0755) == 0 && is_readable());
  put(in_directory, "[server]\n");
  CHECK(is_readable());
  CHECK(chmod(included, 0) == 0 && !is_readable() && chmod(included, 0644) == 0 && is_readable());
  CHECK(chmod(in_directory, 0) == 0 && !is_readable() && chmod(in_directory, 0644) == 0 && is_readable());
  CHECK(chmod(directory, 0) == 0 && !is_readable() && chmod(directory, 0755) == 0 && is_readable());
  CHECK(chmod(main_file, 0) == 0 && !is_readable() && chmod(main_file, 0644) == 0 && is_readable());
}

void optionfiles_tests(void)
{
  CHECK(mkdtemp(root) != NULL && chmod(root, 0755) == 0);
  snprintf(main_file, sizeof main_file, "%s/my.cnf", root);
  snprintf(included, sizeof included, "%s/one", root);
  snprintf(directory, sizeof directory, "%s/more", root);
  snprintf(in_directory, sizeof in_directory, "%s/more/a.cnf", root);
  TEST(file_that_may_not_be_read_any_more_is_noticed);
  CHECK(unlink(in_directory) == 0 && rmdir(directory) == 0 && unlink(included) == 0 && unlink(main_file) == 0);
  CHECK(rmdir(root) == 0);
}
