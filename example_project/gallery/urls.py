from django.urls import path

from . import views

app_name = "gallery"
urlpatterns = [
    path("", views.index, name="index"),
    path("expiry/", views.expiry, name="expiry"),
    path("expiry/<uuid:key>/", views.expiry, name="expiry-ended"),
    path("flights/", views.flights, name="flights"),
    path("flights/airports/", views.airport_options, name="airport-options"),
    path("flights/results/<uuid:key>/", views.flight_results, name="flight-results"),
    path("flights/sorry/<uuid:key>/", views.flight_sorry, name="flight-sorry"),
    path("share/<uuid:key>/", views.share, name="share"),
    path("reattempts/", views.reattempts, name="reattempts"),
    path("reattempts/endpoint/<uuid:key>/", views.endpoint, name="endpoint"),
    path("reattempts/<uuid:key>/", views.reattempts_result, name="reattempts-result"),
    path("import/", views.import_, name="import"),
    path("import/<uuid:key>/", views.import_result, name="import-result"),
    path("import/<uuid:key>/refused.csv", views.refused_rows, name="refused-rows"),
    path("steps/", views.steps, name="steps"),
    path("steps/<uuid:key>/", views.import_result, {"kind": "airport-steps"}, name="steps-result"),
    path("steps/<uuid:key>/refused.csv", views.refused_rows, {"kind": "airport-steps"}, name="steps-refused-rows"),
    path("remote/", views.remote, name="remote"),
    path("remote/<uuid:key>/", views.remote, name="remote-result"),
    path("fragments/", views.fragments, name="fragments"),
]
