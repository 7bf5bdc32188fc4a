// The endpoint's responses, each delayed by `delay_ms`.
#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"

static atomic_int delay_ms;

static void hold_back(void) {
  int ms = delay_ms;
  if (ms == 0) return;
  struct timespec time = {ms / 1000, (ms % 1000) * 1000000L};
  nanosleep(&time, NULL);
}

static int answer(struct connection *c, int status, const char *headers, const char *body, size_t size, int more) {
  static const struct { int status; const char *text; } reasons[] = {
      {200, "OK"}, {204, "No Content"}, {206, "Partial Content"}, {404, "Not Found"}, {411, "Length Required"},
      {412, "Precondition Failed"}, {416, "Range Not Satisfiable"}, {501, "Not Implemented"}};
  const char *reason = "";
  for (size_t n = 0; n < sizeof reasons / sizeof *reasons; n++)
    if (reasons[n].status == status) reason = reasons[n].text;
  hold_back();
  char head[METADATA_SIZE + 1024], date[40];
  time_t now = time(NULL);
  struct tm utc;
  strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &utc));
  int length = snprintf(head, sizeof head,
                        "HTTP/1.1 %d %s\r\nServer: bench\r\nDate: %s\r\nx-amz-request-id: 0\r\n%s\r\n", status,
                        reason, date, headers);
  if (connection_write(c, head, (size_t)length, more || size > 0) < 0) return -1;
  return connection_write(c, body, size, 0);
}

static int answer_text(struct connection *c, int status, const char *more_headers, const char *text) {
  char headers[METADATA_SIZE];
  snprintf(headers, sizeof headers, "Content-Type: application/xml\r\nContent-Length: %zu\r\n%s", strlen(text), more_headers);
  return answer(c, status, headers, text, strlen(text), 0);
}

static int answer_error(struct connection *c, const struct request *r, int status, const char *code) {
  if (strcmp(r->method, "HEAD") == 0) return answer(c, status, "Content-Length: 0\r\n", "", 0, 0);
  char text[300];
  snprintf(text, sizeof text, XML "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code);
  return answer_text(c, status, "", text);
}
