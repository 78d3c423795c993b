/* SPDX-License-Identifier: Apache-2.0
 *
 * dlopen next to ourselves.
 *
 * The companion is looked for beside the object that holds this code, so that a build folder works
 * without installation, and then by its plain name.
 *
 * SYNCHRONIZATION. None of its own; dlopen takes the loader's lock.
 */
#include "os/library.h"

#include "base/format.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>

static void *load_beside_us(const char *name) {
    Dl_info info;
    char path[PATH_MAX];
    if (dladdr((const void *)load_beside_us, &info) == 0 || !info.dli_fname)
        return NULL;
    const char *slash = strrchr(info.dli_fname, '/');
    size_t folder = slash ? (size_t)(slash - info.dli_fname) + 1 : 0;
    if (folder == 0 || folder + strlen(name) + 1 > sizeof path)
        return NULL;
    memcpy(path, info.dli_fname, folder);
    mal_format(path + folder, sizeof path - folder, "%s", name);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

void *mal_library_load(const char *name) {
    void *library = load_beside_us(name);
    return library ? library : dlopen(name, RTLD_NOW | RTLD_LOCAL);
}

void *mal_library_symbol(void *library, const char *symbol) {
    return dlsym(library, symbol);
}
