/* SPDX-License-Identifier: Apache-2.0
 *
 * sd_notify without a library: one datagram to the socket that $NOTIFY_SOCKET names, a path or,
 * after '@', a name in the abstract space. A manager that does not listen is not our failure.
 *
 * SYNCHRONIZATION  Main thread: it reads the environment.
 */
#include "daemon/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void daemon_notify(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t bytes = path != NULL ? strlen(path) : 0;
    if (bytes < 2 || bytes >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, bytes);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address,
           address_bytes);
    close(fd);
}

void daemon_notify_reloading(void) {
    char state[64];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned long long microseconds =
        (unsigned long long)now.tv_sec * 1000000u + (unsigned long long)now.tv_nsec / 1000u;
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu", microseconds);
    daemon_notify(state);
}
