/* SPDX-License-Identifier: Apache-2.0
 *
 * Names for people, by libiberty: Itanium C++ (_Z), Rust of both manglings (_ZN...17h<hash>E and
 * _R). A name may come from a hostile file and expand without bound, so both ends are limited.
 */
#include "view/symbol_file.h"

#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#define MANGLED_MAX_BYTES 2048u
#define DEMANGLED_MAX_BYTES 8192u

char *view_demangle(const char *name) {
    if (strncmp(name, "_Z", 2) != 0 && strncmp(name, "_R", 2) != 0)
        return NULL;
    if (strlen(name) > MANGLED_MAX_BYTES)
        return NULL;
    char *readable = cplus_demangle(name, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
    if (readable && strlen(readable) > DEMANGLED_MAX_BYTES) {
        free(readable);
        return NULL;
    }
    return readable;
}
