/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that does not live long: fleeting HOW MILLISECONDS. Allocates until it has a box, lives
 * for that long, and ends:
 *
 *     exit   cleanly
 *     kill   by SIGKILL
 *     fork   cleanly, after a child of it that has a box of its own was killed
 *     exec   as another image of itself that is killed
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile newest; /* in sight, so that no compiler takes the allocation away */

/* True once there is a file "PID.*.mallard". */
static int has_box(const char *folder) {
    char prefix[32];
    int found = 0;
    const struct dirent *entry;
    DIR *stream = opendir(folder);
    snprintf(prefix, sizeof prefix, "%d.", (int)getpid());
    while (stream != NULL && !found && (entry = readdir(stream)) != NULL)
        found = strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (stream != NULL)
        closedir(stream);
    return found;
}

static void live(const char *milliseconds) {
    const char *folder = getenv("MALLARD_DIR");
    do {
        for (int i = 0; i < 32; i++) {
            newest = malloc(64u << 10);
            memset(newest, 1, 64u << 10);
        }
    } while (folder != NULL && !has_box(folder));
    usleep((useconds_t)atoi(milliseconds) * 1000);
}

static void lose_child(const char *milliseconds) {
    pid_t pid = fork();
    if (pid == 0) {
        live(milliseconds);
        raise(SIGKILL);
    }
    waitpid(pid, NULL, 0);
}

int main(int count, char **arguments) {
    if (count != 3)
        return 2;
    live(arguments[2]);
    if (strcmp(arguments[1], "kill") == 0)
        raise(SIGKILL);
    if (strcmp(arguments[1], "fork") == 0)
        lose_child(arguments[2]);
    if (strcmp(arguments[1], "exec") == 0)
        execl("/proc/self/exe", "fleeting", "kill", arguments[2], (char *)NULL);
    return 0;
}
