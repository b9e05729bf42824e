# Python's own C API, also its stable part (PEP 384): one file for every Python from 3.11 on. There
# the fast macros are functions, and a text is known as UTF-8 only. Part of _fanout.pyx.

cdef extern from *:
    """
    #ifdef Py_LIMITED_API
    #undef PyBytes_AS_STRING
    #undef PyBytes_GET_SIZE
    #undef PyByteArray_AS_STRING
    #undef PyByteArray_GET_SIZE
    #undef PyFloat_AS_DOUBLE
    #undef PyList_GET_ITEM
    #undef PyList_SET_ITEM
    #undef PyTuple_GET_ITEM
    #define PyBytes_AS_STRING PyBytes_AsString
    #define PyBytes_GET_SIZE PyBytes_Size
    #define PyByteArray_AS_STRING PyByteArray_AsString
    #define PyByteArray_GET_SIZE PyByteArray_Size
    #define PyFloat_AS_DOUBLE PyFloat_AsDouble
    #define PyList_GET_ITEM PyList_GetItem
    #define PyList_SET_ITEM PyList_SetItem
    #define PyTuple_GET_ITEM PyTuple_GetItem

    static const unsigned char* narrow(PyObject* text, Py_ssize_t* size) {
        const char* at = PyUnicode_AsUTF8AndSize(text, size);
        if (at == NULL) {  /* half a surrogate pair */
            PyErr_Clear();
            return NULL;
        }
        return PyUnicode_GetLength(text) == *size ? (const unsigned char*)at : NULL;
    }

    static int read_moment(PyObject* moment, int* parts) {
        static const char* const names[] = {
            "year", "month", "day", "hour", "minute", "second", "microsecond"
        };
        static PyObject* interned[7];
        for (int n = 0; n < 7; n++) {
            PyObject* found;
            if (interned[n] == NULL) interned[n] = PyUnicode_InternFromString(names[n]);
            if (interned[n] == NULL) return -1;
            found = PyObject_GetAttr(moment, interned[n]);
            if (found == NULL) return -1;
            parts[n] = (int)PyLong_AsLong(found);
            Py_DECREF(found);
        }
        return 0;
    }
    #else
    #include <datetime.h>

    static const unsigned char* narrow(PyObject* text, Py_ssize_t* size) {
        if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND) return NULL;
        *size = PyUnicode_GET_LENGTH(text);
        return PyUnicode_1BYTE_DATA(text);
    }

    static int read_moment(PyObject* moment, int* parts) {
        parts[0] = PyDateTime_GET_YEAR(moment);
        parts[1] = PyDateTime_GET_MONTH(moment);
        parts[2] = PyDateTime_GET_DAY(moment);
        parts[3] = PyDateTime_DATE_GET_HOUR(moment);
        parts[4] = PyDateTime_DATE_GET_MINUTE(moment);
        parts[5] = PyDateTime_DATE_GET_SECOND(moment);
        parts[6] = PyDateTime_DATE_GET_MICROSECOND(moment);
        return 0;
    }
    #endif
    """
    # The characters of a text as bytes, where each is one for sure: at most Latin-1, at least
    # ASCII. Else NULL; nothing is raised.
    const unsigned char* narrow(object text, Py_ssize_t* size)
    # Year to microsecond of a datetime, into seven ints.
    int read_moment(object moment, int* parts) except -1
