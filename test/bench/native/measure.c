// Runs a pipeline of commands and reports what each process used. `wait4` has the figures of a child and of all that it waited
// for; neither a shell nor Node reports them per process. This program is small, because a child's peak memory includes its
// parent's at the time of the fork.
//
// usage: measure RESULT TIMEOUT_SECONDS COMMAND… [:pipe: COMMAND…]… [:then: COMMAND…]…
// RESULT becomes JSON: seconds, and for each group of piped commands what each of them used.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_COMMANDS 16

static pid_t running[MAX_COMMANDS];
static int running_count;
static volatile sig_atomic_t given_up;

static void give_up(int signal_number) {
  given_up = signal_number;
  for (int n = 0; n < running_count; n++)
    if (running[n] > 0) kill(-running[n], SIGKILL);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds_of(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static pid_t start(char **command, int input, int output, int unused) {
  pid_t pid = fork();
  if (pid > 0) setpgid(pid, pid);
  if (pid != 0) return pid;
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (input != 0) dup2(input, 0), close(input);
  if (output != 1) dup2(output, 1), close(output);
  if (unused >= 0) close(unused);
  execvp(command[0], command);
  perror(command[0]);
  _exit(127);
}

// Runs the piped commands in `arguments` (ended by NULL) and appends what they used to `out`.
static void run_group(char **arguments, FILE *out) {
  int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  running_count = 0;
  for (char **command = arguments; command && *command;) {
    char **next = command;
    while (*next && strcmp(*next, ":pipe:") != 0) next++;
    int ends[2] = {-1, 1};
    char **following = NULL;
    if (*next) {
      *next = NULL;
      following = next + 1;
      if (pipe(ends) < 0) perror("pipe");
      // A larger pipe: fewer switches between the two, for every peer alike.
      fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    }
    running[running_count++] = start(command, input, ends[1], ends[0]);
    close(input);
    if (ends[1] != 1) close(ends[1]);
    input = ends[0];
    command = following;
  }

  struct rusage used[MAX_COMMANDS];
  int status[MAX_COMMANDS];
  for (int left = running_count; left > 0;) {
    struct rusage usage;
    int state;
    pid_t pid = wait4(-1, &state, 0, &usage);
    for (int n = 0; n < running_count; n++)
      if (pid > 0 && running[n] == pid) {
        running[n] = 0;
        used[n] = usage;
        status[n] = state;
        left--;
      }
  }
  fprintf(out, "[");
  for (int n = 0; n < running_count; n++)
    fprintf(out, "%s{\"exit\":%d,\"signal\":%d,\"cpuSeconds\":%.3f,\"peakRssBytes\":%lld}", n ? "," : "",
            WIFEXITED(status[n]) ? WEXITSTATUS(status[n]) : -1, WIFSIGNALED(status[n]) ? WTERMSIG(status[n]) : 0,
            seconds_of(used[n].ru_utime) + seconds_of(used[n].ru_stime), (long long)used[n].ru_maxrss * 1024);
  fprintf(out, "]");
}

int main(int count, char **arguments) {
  if (count < 4) return 2;
  FILE *out = fopen(arguments[1], "we");
  if (!out) {
    perror(arguments[1]);
    return 1;
  }
  signal(SIGALRM, give_up);
  signal(SIGTERM, give_up);
  alarm((unsigned)atoi(arguments[2]));
  double started = now();
  fprintf(out, "{\"groups\":[");
  for (char **group = arguments + 3; group && *group && !given_up;) {
    char **next = group;
    while (*next && strcmp(*next, ":then:") != 0) next++;
    char **following = *next ? next + 1 : NULL;
    *next = NULL;
    if (group != arguments + 3) fprintf(out, ",");
    run_group(group, out);
    group = following;
  }
  fprintf(out, "],\"givenUp\":%s,\"seconds\":%.4f}\n", given_up ? "true" : "false", now() - started);
  return fclose(out) == 0 ? 0 : 1;
}
