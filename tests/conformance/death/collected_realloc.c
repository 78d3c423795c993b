/* SPDX-License-Identifier: Apache-2.0
 *
 * An object of the collected heap, given to realloc.
 */
#include "death.h"

#include <dlfcn.h>

int main(void) {
    void *(*make_collected)(size_t) =
        (void *(*)(size_t))dlsym(RTLD_DEFAULT, "mallard_gc_alloc_noscan");
    char *object = make_collected ? make_collected(100) : NULL;
    if (!object)
        return 3;
    announce(object);
    announce(realloc(hide(object), 200));
    return 0;
}
