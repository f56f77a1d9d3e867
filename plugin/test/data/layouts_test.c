// SPDX-License-Identifier: GPL-2.0-only
/*
  Searches of whole data directories: the layouts of test/vectors/data-files/layouts.txt, whose README.md explains the lines.
*/
#include "data/datadir.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/data/files.h"
#include "test/test.h"

#define LAYOUT_OPTIONS_MAX 8u

struct layout
{
  char name[100], arguments[LAYOUT_OPTIONS_MAX][PATH_MAX];
  size_t options;
};

static bool has_no_key(void *unused, uint32_t id, uint32_t version)
{
  (void) unused;
  (void) id;
  (void) version;
  return false;
}

static int remove_one(const char *path, const struct stat *file, int type, struct FTW *at)
{
  (void) file;
  (void) type;
  (void) at;
  return remove(path);
}

static void put_line(const char *name, const char *text)
{
  int file= open(files_path(name), O_WRONLY | O_CREAT | O_APPEND, 0600);
  CHECK(file != -1 && dprintf(file, "%s\n", text) > 0);
  close(file);
}

static void make_directories_above(const char *name)
{
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s", files_path(name));
  for (char *slash= path + strlen(files_root()) + 1; (slash= strchr(slash, '/')); *slash++= '/')
  {
    *slash= 0;
    mkdir(path, 0700);
  }
}

static void put_of_layout(const char *word, const char *file, const char *text)
{
  char name[PATH_MAX];
  uint8_t header[512]= {0x50, 0x68, 0x79, 0x73, [51]= 1, [55]= 1};
  snprintf(name, sizeof name, "layout/data/%s", file);
  make_directories_above(name);
  if (strcmp(word, "table") == 0)
    files_put_table(name, 0x15, 10428, 1, 5);
  else if (strcmp(word, "redo") == 0)
    files_put_redo_log(name, header);
  else if (strcmp(word, "log") == 0)
    files_put_binlog(name, 1);
  else if (strcmp(word, "text") == 0)
    put_line(name, text);
  else
    CHECK(strcmp(word, "link") == 0 && symlink(text, files_path(name)) == 0);
}

static bool is_as_expected(const struct layout *layout, const char *outcome, const char *file, struct datadir_use *use)
{
  static struct locations places;
  const char *arguments[LAYOUT_OPTIONS_MAX + 1]= {"mariadbd"};
  const struct datadir_keys keys= {.has= has_no_key};
  for (size_t i= 0; i < layout->options; i++)
    arguments[i + 1]= layout->arguments[i];
  locations_read(&places, layout->options + 1, arguments);
  CHECK(chdir(files_path("layout/data")) == 0);
  bool found= datadir_find_unreadable(&places, DATADIR_WHOLE, &keys, use);
  CHECK(chdir(files_root()) == 0);
  if (strcmp(outcome, "needs") == 0)
    return found && strcmp(use->file, file) == 0;
  if (strcmp(outcome, "unsure") == 0)
    return !found && use->is_unsure && (!file[0] || strcmp(use->unsure_file, file) == 0);
  return strcmp(outcome, "none") == 0 && !found && !use->is_unsure;
}

/* Expands ROOT in a line to the parent of the data directory. */
static void expand(char *to, size_t size, const char *line)
{
  size_t length= 0;
  while (*line && *line != '\n' && length + 1 < size)
    if (strncmp(line, "ROOT", 4) == 0)
    {
      int more= snprintf(to + length, size - length, "%s", files_path("layout"));
      length+= more > 0 && (size_t) more < size - length ? (size_t) more : 0;
      line+= 4;
    }
    else
      to[length++]= *line++;
  to[length]= 0;
}

static void run_layout_line(struct layout *layout, char *line)
{
  struct datadir_use use;
  char *word= strtok(line, " "), *rest= strtok(NULL, ""), none[1]= "";
  if (!word || !rest)
    return;
  if (strcmp(word, "layout") == 0)
  {
    memset(layout, 0, sizeof *layout);
    snprintf(layout->name, sizeof layout->name, "%s", rest);
    make_directories_above("layout/data/");
    return;
  }
  if (strcmp(word, "option") == 0)
  {
    CHECK(layout->options < LAYOUT_OPTIONS_MAX);
    if (layout->options < LAYOUT_OPTIONS_MAX)
      snprintf(layout->arguments[layout->options++], sizeof layout->arguments[0], "--%s", rest);
    return;
  }
  char *first= strtok(rest, " "), *second= strtok(NULL, "");
  if (!second)
    second= none;
  if (strcmp(word, "expect") != 0)
  {
    put_of_layout(word, first, second);
    return;
  }
  bool is_right= is_as_expected(layout, first, second, &use);
  if (!is_right)
    printf("# layout %s: found \"%s\", unsure of \"%s\": %s\n", layout->name, use.file, use.unsure_file, use.unsure_why);
  CHECK(is_right);
  CHECK(nftw(files_path("layout"), remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

static void whole_directories_are_as_the_layouts_say(void)
{
  static struct layout layout;
  static char line[2 * PATH_MAX], expanded[4 * PATH_MAX];
  size_t expectations= 0;
  FILE *layouts= fopen(VECTORS "/layouts.txt", "r");
  CHECK(layouts);
  while (layouts && fgets(line, sizeof line, layouts))
  {
    expand(expanded, sizeof expanded, line);
    expectations+= strncmp(expanded, "expect ", 7) == 0;
    if (expanded[0] != '#')
      run_layout_line(&layout, expanded);
  }
  CHECK(expectations > 30);
  if (layouts)
    fclose(layouts);
}

void layouts_tests(void)
{
  files_open();
  TEST(whole_directories_are_as_the_layouts_say);
  files_close();
}
