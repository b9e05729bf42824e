"""Django with its ORM on gunicorn, one file: settings, models, views."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from shared import PAGE, STATUSES, URL

PLACE = urlsplit(URL)
settings.configure(
    DEBUG=False,
    SECRET_KEY="x" * 50,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", {"products.html": PAGE})]
            },
        }
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": PLACE.hostname,
            "PORT": PLACE.port,
            "USER": PLACE.username,
            "PASSWORD": PLACE.password or "",
            "NAME": Path(PLACE.path).name,
            "OPTIONS": {"pool": {"min_size": 8, "max_size": 8}, "server_side_binding": True},
        }
    },
)
django.setup()

from django import forms  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models, transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.shortcuts import render  # noqa: E402
from django.urls import path  # noqa: E402


class Product(models.Model):
    """A row."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)
    price = models.IntegerField()
    status = models.CharField(max_length=20)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label, managed, db_table = "shop", False, "products"


class Job(models.Model):
    """A job."""

    id = models.BigAutoField(primary_key=True)
    kind = models.TextField()
    args = models.JSONField()

    class Meta:
        app_label, managed, db_table = "shop", False, "jobs"


class New(forms.Form):
    """What a create takes."""

    name = forms.CharField(min_length=1, max_length=100)
    price = forms.IntegerField(min_value=0)
    status = forms.ChoiceField(choices=[(one, one) for one in STATUSES])


def plain(row: Product) -> dict[str, Any]:
    """A row as JSON has it."""
    values = {"id": str(row.id), "name": row.name, "price": row.price, "status": row.status}
    return values | {"created_at": row.created_at.isoformat()}


def hello(request: HttpRequest) -> HttpResponse:
    """Case hello."""
    return JsonResponse({"message": "hello"})


def products(request: HttpRequest) -> HttpResponse:
    """Cases list and create."""
    if request.method == "POST":
        form = New(json.loads(request.body))
        if not form.is_valid():
            return JsonResponse({"errors": form.errors}, status=422)
        with transaction.atomic():
            made = Product.objects.create(**form.cleaned_data)
            Job.objects.create(kind="announce", args={"id": str(made.id)})
        return JsonResponse(plain(made), status=201)
    sort = request.GET.get("sort", "-created_at")
    if sort not in ("-created_at", "name", "price"):
        return JsonResponse({}, status=400)
    found = Product.objects.filter(status=request.GET.get("status", "active")).order_by(sort)
    data = [plain(row) for row in found[:25]]
    return JsonResponse({"data": data, "total": found.count()})


def row(request: HttpRequest, id: uuid.UUID) -> HttpResponse:
    """Case row."""
    found = Product.objects.filter(pk=id).first()
    return JsonResponse(plain(found)) if found else JsonResponse({}, status=404)


def page(request: HttpRequest) -> HttpResponse:
    """Case html."""
    found = Product.objects.filter(status="active").order_by("-created_at")
    return render(request, "products.html", {"rows": found[:25], "total": found.count()})


urlpatterns = [
    path("hello", hello),
    path("products", products),
    path("products/<uuid:id>", row),
    path("html", page),
    *(path(f"things{number}", hello) for number in range(45)),
]
app = get_wsgi_application()
