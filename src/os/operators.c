/* SPDX-License-Identifier: Apache-2.0
 *
 * Weak references into libstdc++: present in every C++ program, absent in C programs.
 *
 * SYNCHRONIZATION. None: the references are resolved when the library is loaded.
 */
#include "os/operators.h"

#include "base/check.h"

#include <dlfcn.h>

extern mal_new_handler cxx_get_new_handler(void) __asm__("_ZSt15get_new_handlerv")
    __attribute__((weak));
extern void cxx_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

mal_new_handler mal_current_new_handler(void) {
    return cxx_get_new_handler ? cxx_get_new_handler() : NULL;
}

void *mal_libstdcxx_operator(const char *mangled) {
    void *library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_NOLOAD);
    return library ? dlsym(library, mangled) : NULL;
}

void mal_throw_bad_alloc(size_t bytes) {
    if (cxx_throw_bad_alloc)
        cxx_throw_bad_alloc();
    mal_die("operator new: no memory for %zu bytes, and no C++ runtime to say so", bytes);
}
