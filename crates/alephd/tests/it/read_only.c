/* Between a program and the system: while the file READ_ONLY_SWITCH exists, everything that would
 * change something below READ_ONLY_FOLDER fails with EROFS, as on a disk that turned read-only. Files
 * that are open already stay open, and reading goes on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int below(const char *path) {
    const char *folder = getenv("READ_ONLY_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    return length && path && strncmp(path, folder, length) == 0 && (path[length] == '/' || !path[length]);
}

static int is_on(void) {
    const char *file = getenv("READ_ONLY_SWITCH");
    int (*real)(const char *, int) = dlsym(RTLD_NEXT, "access");
    int before = errno;
    int on = file && real(file, F_OK) == 0;
    errno = before;
    return on;
}

static int no_path(const char *path) {
    if (!below(path) || !is_on()) return 0;
    errno = EROFS;
    return 1;
}

static int no_file(int file) {
    char link[64], path[4096];
    if (!is_on()) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!below(path)) return 0;
    errno = EROFS;
    return 1;
}

/* a name relative to an open folder: what the node gives is absolute or relative to a folder of its own */
static int no_path_at(int folder, const char *path) {
    return path && path[0] == '/' ? no_path(path) : folder != AT_FDCWD && no_file(folder);
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define CHANGES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC)))
#define MODE \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

int open(const char *path, int flags, ...) { MODE REAL(open); return CHANGES(flags) && no_path(path) ? -1 : real(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE REAL(open64); return CHANGES(flags) && no_path(path) ? -1 : real(path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE REAL(openat); return CHANGES(flags) && no_path_at(at, path) ? -1 : real(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE REAL(openat64); return CHANGES(flags) && no_path_at(at, path) ? -1 : real(at, path, flags, mode); }
ssize_t write(int file, const void *bytes, size_t size) { REAL(write); return no_file(file) ? -1 : real(file, bytes, size); }
ssize_t writev(int file, const struct iovec *bytes, int count) { REAL(writev); return no_file(file) ? -1 : real(file, bytes, count); }
ssize_t pwrite(int file, const void *bytes, size_t size, off_t at) { REAL(pwrite); return no_file(file) ? -1 : real(file, bytes, size, at); }
ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) { REAL(pwrite64); return no_file(file) ? -1 : real(file, bytes, size, at); }
int ftruncate(int file, off_t size) { REAL(ftruncate); return no_file(file) ? -1 : real(file, size); }
int ftruncate64(int file, off64_t size) { REAL(ftruncate64); return no_file(file) ? -1 : real(file, size); }
int fallocate(int file, int mode, off_t at, off_t size) { REAL(fallocate); return no_file(file) ? -1 : real(file, mode, at, size); }
int posix_fallocate(int file, off_t at, off_t size) { REAL(posix_fallocate); return no_file(file) ? EROFS : real(file, at, size); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return no_path(path) ? -1 : real(path, mode); }
int unlink(const char *path) { REAL(unlink); return no_path(path) ? -1 : real(path); }
int unlinkat(int at, const char *path, int flags) { REAL(unlinkat); return no_path_at(at, path) ? -1 : real(at, path, flags); }
int rename(const char *from, const char *to) { REAL(rename); return no_path(to) ? -1 : real(from, to); }
int link(const char *from, const char *to) { REAL(link); return no_path(to) ? -1 : real(from, to); }
int linkat(int from_at, const char *from, int at, const char *to, int flags) { REAL(linkat); return no_path_at(at, to) ? -1 : real(from_at, from, at, to, flags); }
int chmod(const char *path, mode_t mode) { REAL(chmod); return no_path(path) ? -1 : real(path, mode); }
int fchmod(int file, mode_t mode) { REAL(fchmod); return no_file(file) ? -1 : real(file, mode); }
