// The head of one HTTP request, as far as the endpoint looks at it.
#ifndef REQUEST_H
#define REQUEST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "connection.h"
#include "objects.h"

struct request {
  char method[8];
  char path[KEY_SIZE];  // bucket/key, percent-decoded, without the first slash
  char query[KEY_SIZE]; // as it came
  uint64_t body_size;
  int has_range;
  uint64_t first, last;
  char if_match[80];
  int if_none_match, expects_continue, is_chunked, closes;
  char metadata[METADATA_SIZE]; // lines of x-amz-meta-… headers
  char checksum[128];           // the x-amz-checksum-… header, for the answer
};

static int hex_value(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void decode_path(char *out, size_t room, const char *from, const char *end) {
  char *stop = out + room - 1;
  while (from < end && out < stop) {
    if (*from == '%' && from + 2 < end && hex_value(from[1]) >= 0 && hex_value(from[2]) >= 0) {
      *out++ = (char)(hex_value(from[1]) * 16 + hex_value(from[2]));
      from += 3;
    } else
      *out++ = *from++;
  }
  *out = 0;
}

static void copy_text(char *out, size_t room, const char *from, const char *end) {
  size_t size = (size_t)(end - from) < room - 1 ? (size_t)(end - from) : room - 1;
  memcpy(out, from, size);
  out[size] = 0;
}

static void read_header(struct request *r, const char *line, const char *end) {
  const char *colon = memchr(line, ':', (size_t)(end - line));
  if (!colon) return;
  size_t name = (size_t)(colon - line);
  const char *value = colon + 1;
  while (value < end && *value == ' ') value++;
#define IS(text) (name == sizeof text - 1 && strncasecmp(line, text, name) == 0)
#define STARTS(text) (name > sizeof text - 1 && strncasecmp(line, text, sizeof text - 1) == 0)
  if (IS("content-length")) r->body_size = strtoull(value, NULL, 10);
  else if (IS("range")) {
    unsigned long long first, last;
    int count = sscanf(value, "bytes=%llu-%llu", &first, &last);
    r->has_range = count > 0;
    r->first = first;
    r->last = count == 2 ? last : UINT64_MAX;
  } else if (IS("if-match")) copy_text(r->if_match, sizeof r->if_match, value, end);
  else if (IS("if-none-match")) r->if_none_match = 1;
  else if (IS("expect")) r->expects_continue = 1;
  else if (IS("transfer-encoding")) r->is_chunked = 1;
  else if (IS("content-encoding") && strncasecmp(value, "aws-chunked", 11) == 0) r->is_chunked = 1;
  else if (IS("connection")) r->closes = strncasecmp(value, "close", 5) == 0;
  else if (STARTS("x-amz-meta-")) {
    size_t used = strlen(r->metadata);
    if (used + (size_t)(end - line) + 3 < sizeof r->metadata)
      snprintf(r->metadata + used, sizeof r->metadata - used, "%.*s\r\n", (int)(end - line), line);
  } else if (STARTS("x-amz-checksum-") && !IS("x-amz-checksum-algorithm") && !IS("x-amz-checksum-type"))
    snprintf(r->checksum, sizeof r->checksum, "%.*s\r\n", (int)(end - line), line);
#undef IS
#undef STARTS
}

// Reads the next request's head: 0, or -1 if the connection ended or sent something else.
static int read_request(struct connection *c, struct request *r) {
  char *stop;
  while (!(stop = memmem(c->buffer + c->start, c->end - c->start, "\r\n\r\n", 4)))
    if (c->end - c->start == BUFFER_SIZE || connection_fill(c) <= 0) return -1;

  memset(r, 0, sizeof *r);
  char *line = c->buffer + c->start;
  char *end = memmem(line, (size_t)(stop + 2 - line), "\r\n", 2);
  char *target = memchr(line, ' ', (size_t)(end - line));
  char *after = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;
  if (!after || target[1] != '/') return -1;
  copy_text(r->method, sizeof r->method, line, target);
  char *mark = memchr(target, '?', (size_t)(after - target));
  decode_path(r->path, sizeof r->path, target + 2, mark ? mark : after);
  if (mark) copy_text(r->query, sizeof r->query, mark + 1, after);
  while (end < stop) {
    line = end + 2;
    end = memmem(line, (size_t)(stop + 2 - line), "\r\n", 2);
    read_header(r, line, end);
  }
  c->start = (size_t)(stop + 4 - c->buffer);
  return 0;
}

// The value of a query parameter as a number, or -1; a parameter without a value is 0.
static long long query_number(const struct request *r, const char *name) {
  size_t size = strlen(name);
  for (const char *at = r->query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL)
    if (strncmp(at, name, size) == 0 && (at[size] == 0 || at[size] == '=' || at[size] == '&'))
      return at[size] == '=' ? strtoll(at + size + 1, NULL, 10) : 0;
  return -1;
}

#endif
