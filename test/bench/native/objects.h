// What was written to the endpoint: sizes and checksums, not bodies.
#ifndef OBJECTS_H
#define OBJECTS_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"

#define KEY_SIZE 1200
#define METADATA_SIZE 4096
#define MAX_PARTS 10000
#define BUCKETS 65536

// One body, as it was received.
struct body {
  uint64_t size;
  uint32_t crc;
  int file; // the number of the file that keeps it, or 0
};

struct object {
  struct object *next;
  char *key, *metadata; // bucket/key; lines of x-amz-meta-… headers
  struct body whole;
  int *files; // of its parts in order, ended by 0
};

struct upload {
  struct upload *next;
  int id;
  char *key, *metadata;
  struct body parts[MAX_PARTS + 1];
};

static pthread_mutex_t objects_lock = PTHREAD_MUTEX_INITIALIZER;
static struct object *objects[BUCKETS];
static struct upload *uploads;
static int last_upload_id;

static uint32_t bucket_of(const char *key) {
  return crc32c(0, (const uint8_t *)key, strlen(key)) % BUCKETS;
}

// To be called with the lock held, as everything below.
static struct object *object_find(const char *key) {
  for (struct object *o = objects[bucket_of(key)]; o; o = o->next)
    if (strcmp(o->key, key) == 0) return o;
  return NULL;
}

static void object_put(const char *key, const char *metadata, struct body whole, int *files) {
  struct object *o = object_find(key);
  if (o) {
    free(o->metadata);
    free(o->files);
  } else {
    o = calloc(1, sizeof *o);
    o->key = strdup(key);
    o->next = objects[bucket_of(key)];
    objects[bucket_of(key)] = o;
  }
  o->metadata = strdup(metadata);
  o->whole = whole;
  o->files = files;
}

static void object_remove(const char *key) {
  for (struct object **link = &objects[bucket_of(key)]; *link; link = &(*link)->next)
    if (strcmp((*link)->key, key) == 0) {
      struct object *gone = *link;
      *link = gone->next;
      free(gone->key);
      free(gone->metadata);
      free(gone->files);
      free(gone);
      return;
    }
}

static struct upload *upload_begin(const char *key, const char *metadata) {
  struct upload *u = calloc(1, sizeof *u);
  u->id = ++last_upload_id;
  u->key = strdup(key);
  u->metadata = strdup(metadata);
  u->next = uploads;
  uploads = u;
  return u;
}

static struct upload *upload_find(int id) {
  for (struct upload *u = uploads; u; u = u->next)
    if (u->id == id) return u;
  return NULL;
}

static void upload_end(int id) {
  for (struct upload **link = &uploads; *link; link = &(*link)->next)
    if ((*link)->id == id) {
      struct upload *gone = *link;
      *link = gone->next;
      free(gone->key);
      free(gone->metadata);
      free(gone);
      return;
    }
}

// Makes the object from parts 1 up to the first that is missing: the bench compares size and checksum of the whole.
static void upload_complete(struct upload *u) {
  struct body whole = {0};
  int count = 0;
  while (count < MAX_PARTS && u->parts[count + 1].size > 0) count++;
  int *files = calloc((size_t)count + 1, sizeof *files);
  for (int n = 1; n <= count; n++) {
    whole.crc = crc32c_combine(whole.crc, u->parts[n].crc, u->parts[n].size);
    whole.size += u->parts[n].size;
    files[n - 1] = u->parts[n].file;
  }
  object_put(u->key, u->metadata, whole, files);
  upload_end(u->id);
}

static void objects_reset(void) {
  for (int n = 0; n < BUCKETS; n++)
    while (objects[n]) object_remove(objects[n]->key);
  while (uploads) upload_end(uploads->id);
}

static void objects_describe(FILE *out) {
  int open_uploads = 0;
  const char *comma = "";
  for (struct upload *u = uploads; u; u = u->next) open_uploads++;
  fprintf(out, "{\"openUploads\":%d,\"objects\":[", open_uploads);
  for (int n = 0; n < BUCKETS; n++)
    for (struct object *o = objects[n]; o; o = o->next) {
      fprintf(out, "%s{\"key\":\"%s\",\"size\":%llu,\"crc32c\":\"%08x\",\"files\":[", comma, o->key,
              (unsigned long long)o->whole.size, o->whole.crc);
      for (int *file = o->files; file && *file; file++) fprintf(out, "%s%d", file == o->files ? "" : ",", *file);
      fprintf(out, "]}");
      comma = ",";
    }
  fprintf(out, "]}");
}

#endif
