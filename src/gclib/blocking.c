/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocking calls of libc, each in a blocking region: made from calls.def.
 *
 * While a thread is in one, a collection neither signals it nor waits for it. So a call never ends
 * with EINTR because of a collection, its timeout runs on undisturbed, and a thousand idle threads
 * cost a look each. errno and results are libc's. Every call stays a cancellation point.
 *
 * What the kernel writes into a collected object for such a call, it may write while the world is
 * stopped; see gc/park.c.
 */
#include "gclib/next.h"

#include <aio.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* Those that no header declares. */
#define CALL(result, name, parameters, arguments) GCLIB_PUBLIC result name parameters;
#include "gclib/calls.def"
#undef CALL

#define CALL(type, name, parameters, arguments)                                                    \
    type name parameters {                                                                         \
        type gclib_result;                                                                         \
        IN_REGION(gclib_result, NEXT(name) arguments);                                             \
        return gclib_result;                                                                       \
    }
#include "gclib/calls.def"
#undef CALL

static int lock_file(int (*next)(int, int, ...), int fd, int command, void *argument) {
    int result;
    if (command != F_SETLKW && command != F_OFD_SETLKW)
        return next(fd, command, argument);
    IN_REGION(result, next(fd, command, argument));
    return result;
}

/* The third argument, if there is one, is an int or a pointer: one register either way. */
#define DEFINE_FCNTL(name)                                                                         \
    GCLIB_PUBLIC int name(int fd, int command, ...) {                                              \
        va_list arguments;                                                                         \
        va_start(arguments, command);                                                              \
        void *argument = va_arg(arguments, void *);                                                \
        va_end(arguments);                                                                         \
        return lock_file(NEXT(name), fd, command, argument);                                       \
    }
DEFINE_FCNTL(fcntl)
DEFINE_FCNTL(fcntl64)
