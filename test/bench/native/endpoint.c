// An S3 endpoint for measuring, fast enough not to be the limit. One thread per connection; signatures are not checked.
//
// GET   every key of a bucket whose name ends in -SIZE is an archive of SIZE bytes: the pattern file, repeated, sent by
//       sendfile. So an archive of any size needs no more memory than the pattern.
// PUT   counts bodies, computes their CRC-32C and discards them, unless they are to be kept as files.
// Also  HEAD, DELETE, multipart uploads. ListObjects lists one key, archive.ts, below any prefix of a bucket of archives.
//
// GET /-/objects lists what was written, and POST /-/reset forgets it. POST /-/set?delayMs=N&keep=0|1 sets the delay of each
// response (the round trip to a distant store) and whether bodies are kept.
//
// usage: endpoint PATTERN KEEP_DIRECTORY [CERTIFICATE KEY]; ends when its stdin does.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "connection.h"
#include "crc32c.h"
#include "objects.h"
#include "request.h"
#include "response.h"
#include "listener.h"

#define SOURCE_ETAG "\"5eed0000000000000000000000000000-1\""
#define WRITTEN_ETAG "\"d00d0000000000000000000000000000-1\"" // with a dash: nobody takes it for an MD5

static const char *pattern, *keep_directory;
static int pattern_file;
static uint64_t pattern_size;
static atomic_int keeping, last_file;

// The size of every archive in the bucket of `path`, or 0 if it is not a bucket of archives.
static uint64_t archive_size(const char *path) {
  const char *end = path + strcspn(path, "/");
  const char *digits = end;
  while (digits > path && digits[-1] >= '0' && digits[-1] <= '9') digits--;
  return digits < end && digits > path && digits[-1] == '-' ? strtoull(digits, NULL, 10) : 0;
}

static int serve_archive(struct connection *c, const struct request *r, uint64_t size) {
  if (r->if_match[0] && strcmp(r->if_match, SOURCE_ETAG) != 0) return answer_error(c, r, 412, "PreconditionFailed");
  uint64_t first = 0, last = size - 1;
  char range[100] = "";
  if (r->has_range) {
    if (r->first >= size) return answer_error(c, r, 416, "InvalidRange");
    first = r->first;
    if (r->last < last) last = r->last;
    snprintf(range, sizeof range, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)first,
             (unsigned long long)last, (unsigned long long)size);
  }
  uint64_t left = last - first + 1;
  char headers[500];
  snprintf(headers, sizeof headers,
           "Content-Length: %llu\r\nETag: " SOURCE_ETAG "\r\nContent-Type: video/mp2t\r\nAccept-Ranges: bytes\r\n"
           "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n%s",
           (unsigned long long)left, range);
  int is_get = strcmp(r->method, "GET") == 0;
  if (answer(c, r->has_range ? 206 : 200, headers, "", 0, is_get) < 0) return -1;
  while (is_get && left > 0) {
    uint64_t offset = first % pattern_size;
    uint64_t size = pattern_size - offset < left ? pattern_size - offset : left;
    if (connection_send_file(c, pattern_file, pattern, (off_t)offset, size) < 0) return -1;
    first += size;
    left -= size;
  }
  return 0;
}

static int receive_body(struct connection *c, const struct request *r, struct body *body) {
  uint64_t left = r->body_size;
  int file = -1;
  if (r->expects_continue && left > 0 && c->start == c->end &&
      connection_write(c, "HTTP/1.1 100 Continue\r\n\r\n", 25, 0) < 0)
    return -1;
  memset(body, 0, sizeof *body);
  if (keeping && strcmp(r->method, "PUT") == 0) {
    char path[KEY_SIZE];
    body->file = ++last_file;
    snprintf(path, sizeof path, "%s/%d", keep_directory, body->file);
    file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  }
  while (left > 0) {
    if (c->start == c->end && connection_fill(c) <= 0) break;
    size_t size = c->end - c->start < left ? c->end - c->start : left;
    const char *bytes = c->buffer + c->start;
    body->crc = crc32c(body->crc, (const uint8_t *)bytes, size);
    body->size += size;
    if (file >= 0 && write(file, bytes, size) != (ssize_t)size) break;
    c->start += size;
    left -= size;
  }
  if (file >= 0) close(file);
  return left > 0 ? -1 : 0;
}

static int serve_control(struct connection *c, const struct request *r) {
  if (strcmp(r->path, "-/reset") == 0) {
    pthread_mutex_lock(&objects_lock);
    objects_reset();
    pthread_mutex_unlock(&objects_lock);
  } else if (strcmp(r->path, "-/set") == 0) {
    if (query_number(r, "delayMs") >= 0) delay_ms = (int)query_number(r, "delayMs");
    if (query_number(r, "keep") >= 0) keeping = query_number(r, "keep") != 0;
  } else if (strcmp(r->path, "-/objects") == 0) {
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    pthread_mutex_lock(&objects_lock);
    objects_describe(out);
    pthread_mutex_unlock(&objects_lock);
    fclose(out);
    char headers[100];
    snprintf(headers, sizeof headers, "Content-Type: application/json\r\nContent-Length: %zu\r\n", size);
    int result = answer(c, 200, headers, text, size, 0);
    free(text);
    return result;
  }
  return answer_text(c, 200, "", "");
}

static int serve_write(struct connection *c, const struct request *r, struct body body) {
  char headers[300];
  long long upload = query_number(r, "uploadId"), part = query_number(r, "partNumber");
  int status = 200;
  pthread_mutex_lock(&objects_lock);
  if (part >= 0) {
    struct upload *u = upload_find((int)upload);
    if (!u || part < 1 || part > MAX_PARTS) status = 404;
    else u->parts[part] = body;
  } else if (r->if_none_match && object_find(r->path))
    status = 412;
  else {
    int *files = calloc(2, sizeof *files);
    files[0] = body.file;
    object_put(r->path, r->metadata, body, files);
  }
  pthread_mutex_unlock(&objects_lock);
  if (status != 200) return answer_error(c, r, status, status == 404 ? "NoSuchUpload" : "PreconditionFailed");
  snprintf(headers, sizeof headers, "Content-Length: 0\r\nETag: " WRITTEN_ETAG "\r\n%s", r->checksum);
  return answer(c, 200, headers, "", 0, 0);
}

static int serve_post(struct connection *c, const struct request *r) {
  char text[KEY_SIZE * 2];
  const char *slash = strchr(r->path, '/');
  int bucket_size = slash ? (int)(slash - r->path) : 0;
  const char *key = slash ? slash + 1 : "";
  int status = 200;
  pthread_mutex_lock(&objects_lock);
  if (query_number(r, "uploads") >= 0) {
    int id = upload_begin(r->path, r->metadata)->id;
    snprintf(text, sizeof text,
             XML "<InitiateMultipartUploadResult><Bucket>%.*s</Bucket><Key>%s</Key><UploadId>%d</UploadId>"
                 "</InitiateMultipartUploadResult>",
             bucket_size, r->path, key, id);
  } else {
    struct upload *u = upload_find((int)query_number(r, "uploadId"));
    if (!u) status = 404;
    else if (r->if_none_match && object_find(r->path)) status = 412;
    else {
      upload_complete(u);
      snprintf(text, sizeof text,
               XML "<CompleteMultipartUploadResult><Bucket>%.*s</Bucket><Key>%s</Key><ETag>" WRITTEN_ETAG
                   "</ETag></CompleteMultipartUploadResult>",
               bucket_size, r->path, key);
    }
  }
  pthread_mutex_unlock(&objects_lock);
  if (status != 200) return answer_error(c, r, status, status == 404 ? "NoSuchUpload" : "PreconditionFailed");
  return answer_text(c, 200, "", text);
}

static int serve_listing(struct connection *c, const struct request *r) {
  char prefix[KEY_SIZE] = "", text[2 * KEY_SIZE], entry[2 * KEY_SIZE] = "";
  uint64_t size = archive_size(r->path);
  const char *from = strstr(r->query, "prefix=");
  if (from) decode_path(prefix, sizeof prefix, from + 7, from + 7 + strcspn(from + 7, "&"));
  if (size > 0)
    snprintf(entry, sizeof entry,
             "<Contents><Key>%sarchive.ts</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
             "<ETag>" SOURCE_ETAG "</ETag><Size>%llu</Size><StorageClass>STANDARD</StorageClass></Contents>",
             prefix, (unsigned long long)size);
  snprintf(text, sizeof text,
           XML "<ListBucketResult><Prefix>%s</Prefix><KeyCount>%d</KeyCount><MaxKeys>1000</MaxKeys>"
               "<IsTruncated>false</IsTruncated>%s</ListBucketResult>",
           prefix, size > 0, entry);
  return answer_text(c, 200, "", text);
}

static int serve_read(struct connection *c, const struct request *r) {
  const char *slash = strchr(r->path, '/');
  int is_head = strcmp(r->method, "HEAD") == 0;
  if (!slash || !slash[1]) {
    if (is_head) return answer(c, 200, "Content-Length: 0\r\nx-amz-bucket-region: us-east-1\r\n", "", 0, 0);
    if (query_number(r, "location") >= 0) return answer_text(c, 200, "", XML "<LocationConstraint/>");
    return serve_listing(c, r);
  }
  uint64_t size = archive_size(r->path);
  if (size > 0) return serve_archive(c, r, size);
  char headers[METADATA_SIZE + 300];
  pthread_mutex_lock(&objects_lock);
  struct object *o = object_find(r->path);
  if (o)
    snprintf(headers, sizeof headers,
             "Content-Length: %llu\r\nETag: " WRITTEN_ETAG "\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n%s",
             (unsigned long long)o->whole.size, o->metadata);
  pthread_mutex_unlock(&objects_lock);
  if (!o) return answer_error(c, r, 404, "NoSuchKey");
  // Its body is gone.
  if (!is_head) return answer_error(c, r, 501, "NotImplemented");
  return answer(c, 200, headers, "", 0, 0);
}

static int serve(struct connection *c, const struct request *r) {
  if (r->is_chunked) {
    answer_error(c, r, 411, "MissingContentLength");
    return -1;
  }
  struct body body;
  if (receive_body(c, r, &body) < 0) return -1;
  if (strncmp(r->path, "-/", 2) == 0) return serve_control(c, r);
  if (strcmp(r->method, "PUT") == 0) return serve_write(c, r, body);
  if (strcmp(r->method, "POST") == 0) return serve_post(c, r);
  if (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0) return serve_read(c, r);
  if (strcmp(r->method, "DELETE") != 0) return answer_error(c, r, 501, "NotImplemented");
  pthread_mutex_lock(&objects_lock);
  if (query_number(r, "uploadId") >= 0) upload_end((int)query_number(r, "uploadId"));
  else object_remove(r->path);
  pthread_mutex_unlock(&objects_lock);
  return answer(c, 204, "", "", 0, 0);
}

static void *run_connection(void *argument) {
  struct connection *c = argument;
  struct request *r = malloc(sizeof *r);
  // A connection costs a round trip of its own.
  hold_back();
  if (!c->tls || SSL_accept(c->tls) == 1)
    while (read_request(c, r) == 0 && serve(c, r) == 0 && !r->closes) continue;
  if (c->tls) SSL_free(c->tls);
  close(c->fd);
  free(c->buffer);
  free(c);
  free(r);
  return NULL;
}

int main(int count, char **arguments) {
  if (count != 3 && count != 5) {
    fprintf(stderr, "usage: endpoint PATTERN KEEP_DIRECTORY [CERTIFICATE KEY]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  crc32c_begin();
  struct stat stats;
  pattern_file = open(arguments[1], O_RDONLY);
  if (pattern_file < 0 || fstat(pattern_file, &stats) < 0) {
    perror(arguments[1]);
    return 1;
  }
  pattern_size = (uint64_t)stats.st_size;
  pattern = mmap(NULL, pattern_size, PROT_READ, MAP_SHARED, pattern_file, 0);
  keep_directory = arguments[2];

  static struct listener plain, secure;
  plain = listen_on_loopback(NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, run_listener, &plain);
  if (count == 5) {
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
    if (SSL_CTX_use_certificate_chain_file(tls, arguments[3]) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, arguments[4], SSL_FILETYPE_PEM) != 1) {
      fprintf(stderr, "certificate or key can't be used\n");
      return 1;
    }
    secure = listen_on_loopback(tls);
    pthread_create(&thread, NULL, run_listener, &secure);
  }
  printf("{\"port\":%d,\"tlsPort\":%d}\n", plain.port, secure.port);
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) continue;
  return 0;
}
