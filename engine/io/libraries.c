/* libraries.c - each library is asked itself, so that the version is the one that was loaded; those that do not tell
** at run time (marked "built with") give that of their headers. */
#include "io/libraries.h"

#include <archive.h>
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <gnu/libc-version.h>
#include <omp.h>
#include <openssl/crypto.h>
#include <png.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>
#ifdef CN_WITH_JPEG
#include <jpeglib.h>
#endif
#ifdef CN_WITH_MPI
#include <mpi.h>
#endif
#ifdef CN_WITH_ONNX
#include <protobuf-c/protobuf-c.h>
#endif

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

/* What stands in front of a line's end or comma: MPI tells its packagers' names too. */
static const char *mpi_version(char *text, size_t room) {
#ifdef CN_WITH_MPI
  char all[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  if (MPI_Get_library_version(all, &length) != MPI_SUCCESS) return "unknown";
  snprintf(text, room, "%.*s", (int)strcspn(all, ",\n"), all);
  return text;
#else
  (void)text;
  (void)room;
  return "";
#endif
}

static const char *jpeg_version(void) {
#ifdef CN_WITH_JPEG
  return TEXT(LIBJPEG_TURBO_VERSION) " (built with)";
#else
  return "";
#endif
}

static const char *onnx_version(void) {
#ifdef CN_WITH_ONNX
  return protobuf_c_version();
#else
  return "";
#endif
}

int cn_libraries(CnLibrary out[CN_LIBRARIES_MOST]) {
  char mpi[64], openmp[32];
  snprintf(openmp, sizeof openmp, "specification of %d", _OPENMP);
  const struct {
    const char *name, *serves, *version;
  } rows[] = {
    { "C library", "everything", gnu_get_libc_version() },
    { "OpenMP", "threads of the kernels", openmp },
    { "zlib", "compression, checksums", zlibVersion() },
    { "libpng", "PNG images", png_get_libpng_ver(NULL) },
    { "libjpeg-turbo", "JPEG images", jpeg_version() },
    { "libcurl", "downloads", curl_version_info(CURLVERSION_NOW)->version },
    { "libarchive", "archives of data sets", archive_version_string() },
    { "OpenSSL", "checksums of downloads", OpenSSL_version(OPENSSL_VERSION) },
    { "cJSON", "JSON", cJSON_Version() },
    { "graphviz", "drawings of cells", CN_GRAPHVIZ_VERSION " (built with)" },
    { "protobuf-c", "ONNX files", onnx_version() },
    { "MPI", "runs on several processes", mpi_version(mpi, sizeof mpi) },
  };
  int count = (int)(sizeof rows / sizeof rows[0]);
  _Static_assert(sizeof rows / sizeof rows[0] <= CN_LIBRARIES_MOST, "room for every library");
  for (int i = 0; i < count; i++) {
    out[i] = (CnLibrary){ .name = rows[i].name, .serves = rows[i].serves };
    snprintf(out[i].version, sizeof out[i].version, "%s", rows[i].version);
  }
  return count;
}
