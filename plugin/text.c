// SPDX-License-Identifier: GPL-2.0-only
#include "text.h"

#include <string.h>

/* Length of the well-formed character at p[0..left), 0 if there is none. Table 3-7 of the Unicode standard. */
static size_t character(const uint8_t *p, size_t left)
{
  uint8_t low= 0x80, high= 0xBF;
  size_t size;
  if (p[0] < 0x80)
    return p[0] ? 1 : 0;
  if (p[0] < 0xC2)
    return 0;
  if (p[0] < 0xE0)
    size= 2;
  else if (p[0] < 0xF0)
  {
    size= 3;
    if (p[0] == 0xE0)
      low= 0xA0;
    else if (p[0] == 0xED)
      high= 0x9F;
  }
  else if (p[0] < 0xF5)
  {
    size= 4;
    if (p[0] == 0xF0)
      low= 0x90;
    else if (p[0] == 0xF4)
      high= 0x8F;
  }
  else
    return 0;
  if (size > left || p[1] < low || p[1] > high)
    return 0;
  for (size_t i= 2; i < size; i++)
    if ((p[i] & 0xC0) != 0x80)
      return 0;
  return size;
}

bool text_is_utf8(const uint8_t *bytes, size_t size)
{
  for (size_t at= 0, step; at < size; at+= step)
    if (!(step= character(bytes + at, size - at)))
      return false;
  return true;
}

size_t text_cut(const char *text, size_t size, size_t limit)
{
  if (size <= limit)
    return size;
  size_t cut= limit;
  while (cut > 0 && limit - cut < 3 && ((uint8_t) text[cut] & 0xC0) == 0x80)
    cut--;
  return cut;
}

void text_clean(char *to, size_t capacity, const void *from, size_t size)
{
  if (capacity == 0)
    return;
  size_t length= text_cut(from, size, capacity - 1);
  memcpy(to, from, length);
  to[length]= 0;
  for (size_t i= 0; i < length; i++)
  {
    uint8_t c= (uint8_t) to[i];
    /* U+0080..U+009F are control characters too, C2 80..C2 9F in UTF-8. */
    if (c == 0xC2 && i + 1 < length && (uint8_t) to[i + 1] < 0xA0)
    {
      to[i]= ' ';
      to[i + 1]= ' ';
    }
    else if (c < 0x20 || c == 0x7F)
      to[i]= ' ';
  }
}
