// SPDX-License-Identifier: GPL-2.0-only
/* Frames of docs/protocol.md as bytes: a parser that is fed, readers of fields, a writer. No I/O. */
#ifndef AKM_FRAME_H
#define AKM_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* This plugin speaks both: an agent of the release before is greeted a second time, in its version. */
#define PROTOCOL_VERSION 2u
#define PROTOCOL_OLDEST 1u

#define FRAME_PREFIX 4u                 /* bytes of the length field */
#define FRAME_MIN 5u                    /* smallest value of the length field: type and request */
#define FRAME_MAX 16384u                /* largest value of the length field */
#define FRAME_TOTAL_MAX (FRAME_PREFIX + FRAME_MAX)

enum frame_type
{
  FRAME_HELLO= 0x01,
  FRAME_SET= 0x02,
  FRAME_LOAD= 0x03,
  FRAME_OPEN= 0x04,
  FRAME_FETCH= 0x05,
  FRAME_ROTATE= 0x06,
  FRAME_CHECK= 0x07,
  FRAME_HELD= 0x08,
  FRAME_USE= 0x09,
  FRAME_ANSWER= 0x0A,
  FRAME_WELCOME= 0x81,
  FRAME_KEY= 0x82,
  FRAME_DONE= 0x83,
  FRAME_FAIL= 0x84,
  FRAME_LOG= 0x85,
  FRAME_STATS= 0x86,
  FRAME_MISSING= 0x87,
  FRAME_MASTERKEY= 0x88,
  FRAME_QUESTION= 0x89
};

/* One whole frame. The payload points into the parser, until frame_parser_next(). */
struct frame
{
  uint8_t type;
  uint32_t request;
  const uint8_t *payload;
  size_t size;
};

struct frame_parser
{
  size_t have;
  uint8_t bytes[FRAME_TOTAL_MAX];
};

enum frame_result
{
  FRAME_MORE,                           /* the frame is not complete */
  FRAME_READY,                          /* *frame is set; call frame_parser_next() when done with it */
  FRAME_BAD                             /* the length field is out of range: nothing after it can be trusted */
};

/* Wipes the parser, which then waits for the first byte of a frame. */
void frame_parser_reset(struct frame_parser *parser);

/*
  Returns the place for the next bytes, and in *room how many are wanted: never more than the current frame still lacks, so
  that no byte of a following frame (it may carry a key) has to be moved. *room is 0 only while a frame is ready or bad.
*/
uint8_t *frame_parser_space(struct frame_parser *parser, size_t *room);

/* Tells the parser that count (at most *room) bytes were put where frame_parser_space() pointed. */
enum frame_result frame_parser_added(struct frame_parser *parser, size_t count, struct frame *frame);

/* Wipes the frame that was ready and waits for the next. */
void frame_parser_next(struct frame_parser *parser);

/* A reader of fields, in order. After the first field that does not fit, bad is set and every further read yields zero. */
struct frame_reader
{
  const uint8_t *at;
  size_t left;
  bool bad;
};

/* The text of a str field: valid UTF-8 without NUL, not terminated, pointing into the frame. */
struct frame_text
{
  const char *text;
  size_t size;
};

struct frame_reader frame_read(const struct frame *frame);
uint8_t frame_u8(struct frame_reader *reader);
uint16_t frame_u16(struct frame_reader *reader);
uint32_t frame_u32(struct frame_reader *reader);
struct frame_text frame_str(struct frame_reader *reader);
/* Returns the next size bytes, NULL if there are fewer. */
const uint8_t *frame_bytes(struct frame_reader *reader, size_t size);
/* Returns whether every field was there and nothing follows. */
bool frame_end(const struct frame_reader *reader);

/* A writer of one frame into the caller's buffer. A field that does not fit sets bad; frame_finish() then returns 0. */
struct frame_writer
{
  uint8_t *bytes;
  size_t capacity;
  size_t size;
  bool bad;
};

struct frame_writer frame_begin(uint8_t *bytes, size_t capacity, uint8_t type, uint32_t request);
void frame_put_u8(struct frame_writer *writer, uint8_t value);
void frame_put_u16(struct frame_writer *writer, uint16_t value);
void frame_put_u32(struct frame_writer *writer, uint32_t value);
void frame_put_str(struct frame_writer *writer, const char *text, size_t size);
/* Sets the length field. Returns the bytes of the whole frame, 0 if it did not fit. */
size_t frame_finish(struct frame_writer *writer);

#endif
